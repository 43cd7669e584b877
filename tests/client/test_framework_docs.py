"""The examples of the frameworks' pages run as they are."""

import re
import runpy
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .background import Background
from .fake import PCM, serving

DOCS = Path(__file__).parents[2] / "docs"


def example(page: str, server: str, folder: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    program = folder / "example.py"
    program.write_text(code.replace("localhost:50051", server), encoding="utf-8")
    return program


def test_pipecat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pipecat", reason="pipecat-ai is installed in an environment of its own (make test)")
    monkeypatch.chdir(tmp_path)
    with Background() as fake:
        runpy.run_path(str(example("pipecat.md", fake.address, tmp_path)))
        assert fake.texts == ["Okay, let me see what I can find."]
    with wave.open("out.wav") as file:
        assert file.readframes(file.getnframes()) == PCM


async def test_livekit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("livekit.agents", reason="livekit-agents is installed in an environment of its own (make test)")
    from livekit.agents import AgentSession

    from .sessions import Loudspeaker

    loudspeaker, original = Loudspeaker(), AgentSession.start

    async def started(session: Any, agent: Any, room: object) -> None:
        session.output.audio = loudspeaker
        sessions.append(session)
        await original(session, agent)

    sessions: list[Any] = []
    monkeypatch.setattr(AgentSession, "start", started)
    async with serving() as fake:
        agent = runpy.run_path(str(example("livekit.md", fake.address, tmp_path)))
        await agent["greet"](SimpleNamespace(room=None))
        await sessions[0].aclose()
        await sessions[0].tts.aclose()
        assert fake.texts == ["Okay, let me see what I can find."] and loudspeaker.total > 0.07
