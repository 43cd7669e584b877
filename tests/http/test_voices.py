"""/v1/audio/voices on a real server whose checkpoint clones voices."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from engine.checkpoint.dummy import write_checkpoint
from tests.service.conftest import serving
from tests.service.test_kinds import recording

from .conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloning(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    folder = tmp_path_factory.mktemp("cloning")
    checkpoint = write_checkpoint(folder / "base", "0.6B-Base", seed=5)
    async with serving(checkpoint, folder / "voices", config={"require_consent": True}) as running:
        with Door(running.address) as door:
            yield door


async def post(
    door: Door, fields: dict[str, Any], audio: bytes | None = None, name: str = "audio_sample"
) -> httpx.Response:
    files = {name: ("me.flac", recording() if audio is None else audio)}
    async with httpx.AsyncClient(timeout=60) as http:
        return await http.post(f"{door.url}/v1/audio/voices", data=fields, files=files)


async def test_a_voice_from_creation_to_deletion(cloning: Door) -> None:
    api = openai.AsyncOpenAI(base_url=f"{cloning.url}/v1", api_key="any", max_retries=0)
    made = await api.audio.voices.create(name="anna", audio_sample=("a.flac", recording()), consent="cons_1")
    assert (made.id, made.name, made.object, made.type) == ("anna", "anna", "audio.voice", "audio_sample")
    assert made.created_at > 1.7e9
    async with httpx.AsyncClient(base_url=cloning.url) as http:
        listed = (await http.get("/v1/audio/voices")).json()
    assert listed["voices"] == ["anna"] and listed["data"][0]["kind"] == "cloned"
    assert (await api.audio.voices.delete("anna")).deleted
    with pytest.raises(openai.NotFoundError):
        await api.audio.voices.delete("anna")


async def test_what_is_refused(cloning: Door) -> None:
    assert (await post(cloning, {"name": "anna"})).status_code == 400  # without consent
    assert (await post(cloning, {"name": "anna", "consent": "c"}, b"no audio")).status_code == 400
    assert (await post(cloning, {"name": "anna", "consent": "c"}, b"")).status_code == 400
    assert (await post(cloning, {"name": "an na", "consent": "c"})).json()["error"]["param"] == "name"
    assert (await post(cloning, {"name": "anna", "consent": "c"}, name="other")).json()["error"][
        "param"
    ] == "audio_sample"
    assert (await post(cloning, {"name": "anna", "consent": "x" * 2**17})).status_code == 400
    assert (await post(cloning, {"name": "anna", "consent": "c"}, bytes(12 * 2**20))).status_code == 413


@pytest.mark.parametrize(
    "content", [b"", b"--x\r\n", b"nonsense", b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"]
)
async def test_broken_forms(cloning: Door, content: bytes) -> None:
    async with httpx.AsyncClient(base_url=cloning.url) as http:
        for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "application/json", "text/plain"):
            answer = await http.post("/v1/audio/voices", content=content, headers={"content-type": kind})
            assert answer.status_code in (400, 415) and answer.json()["error"]


async def test_names_of_any_script(cloning: Door) -> None:
    async with httpx.AsyncClient(base_url=cloning.url) as http:
        answers = await asyncio.gather(
            *[http.delete(f"/v1/audio/voices/{name}") for name in ("名前", "a%20b", "%ff", "x" * 500)]
        )
    assert {answer.status_code for answer in answers} <= {400, 404}
