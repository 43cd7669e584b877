"""A checkpoint, qwen-tts and the engine over it: each made once for all the speeches that it is asked for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.api.config import EngineConfig
from engine.build import build_engine
from engine.checkpoint.dummy import write_checkpoint
from engine.engine import Engine
from tests.parity.cases import Subject
from tests.parity.reference import Reference


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    value: Subject = request.param
    return value


@pytest.fixture(scope="module")
def folder(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / subject.name,
        subject.kind,
        seed=subject.seed,
        eos_scale=subject.eos_scale,
        text_vocab=subject.text_vocab,
        config_overrides=subject.config,
        codec_overrides=subject.codec,
    )


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(subject: Subject, folder: Path) -> AsyncIterator[Engine]:
    config = EngineConfig(device="cpu", dtype="float32", tokenizer_split=subject.split)
    async with await build_engine(str(folder), config) as engine:
        yield engine
