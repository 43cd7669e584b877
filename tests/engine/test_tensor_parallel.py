"""A talker over several processes: the same codes as in one, and nothing is left of a process that ends."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError, EngineFailed
from engine.api.request import Delivery, Sampling, SpeechRequest
from engine.build import build_engine
from engine.checkpoint.dummy import write_checkpoint
from engine.checkpoint.shard import SLICES, Shard
from engine.checkpoint.weights import load_checkpoint, load_shard
from engine.engine import Engine
from tests.engine.forced import forced_codes
from tests.engine.speaking import Heard, same, speak

ROWS, FRAMES = 3, 6
TEXT = "Good morning to all of you."


def config(ranks: int, device: str = "cpu") -> EngineConfig:
    return EngineConfig(device=device, max_speeches=ROWS + 1, tensor_parallel=ranks)


def processes(engine: Engine) -> Sequence[int]:
    """Those of the other ranks."""
    release = engine._release
    return [follower.process.pid for follower in release.__self__.team.followers]  # type: ignore[attr-defined]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def spoken(engine: Engine) -> list[Heard]:
    requests = [
        SpeechRequest(sampling=Sampling(seed=seed, max_frames=20), delivery=Delivery(max_lead=1e3)) for seed in range(5)
    ]
    return await asyncio.gather(*(speak(engine, each, TEXT) for each in requests))


async def test_two_processes_make_the_codes_of_one(noise: Path) -> None:
    async with await build_engine(str(noise), config(1)) as engine:
        whole, forced = await spoken(engine), forced_codes(engine, ROWS, FRAMES)
    async with await build_engine(str(noise), config(2)) as engine:
        assert engine.card.description.endswith("talker over cpu, cpu")
        for one, other in zip(whole, await spoken(engine), strict=True):
            same(one, other)
        shared = forced_codes(engine, ROWS, FRAMES)
        pids = processes(engine)
        assert all(map(alive, pids))
    assert forced.shape == (FRAMES, ROWS, 16)
    np.testing.assert_array_equal(shared, forced)
    assert not any(map(alive, pids))


async def test_a_follower_that_is_killed_ends_the_engine(noise: Path) -> None:
    engine = await build_engine(str(noise), config(2))
    try:
        request = SpeechRequest(sampling=Sampling(seed=1, max_frames=2_000, end_before_text=False))
        speaking = asyncio.create_task(speak(engine, request, TEXT))
        await asyncio.sleep(0.2)
        os.kill(processes(engine)[0], signal.SIGKILL)
        with pytest.raises(EngineFailed, match="has stopped"):
            await speaking
        assert engine.failed is not None
        with pytest.raises(EngineFailed):
            engine.open(request)
    finally:
        await engine.close()


async def test_an_idle_engine_hears_of_a_follower_that_is_killed(noise: Path) -> None:
    engine = await build_engine(str(noise), config(2))
    try:
        os.kill(processes(engine)[0], signal.SIGKILL)
        give_up = time.monotonic() + 20
        while engine.failed is None:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.02)
        assert "rank 1 on cpu has ended" in str(engine.failed)
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("ranks", "device", "message"),
    [
        (3, "cpu", "tensor parallel 3: the talker's 2 key-value heads do not divide by it"),
        (2, "cpu,cpu,cpu", "tensor parallel 2 takes 2 devices, not cpu,cpu,cpu"),
        (1, "cpu,cpu", "tensor parallel 1 takes 1 devices, not cpu,cpu"),
        (2, "cpu,cuda:0", "there is no device cuda:0|takes different GPUs"),
    ],
)
async def test_what_does_not_fit_is_refused(noise: Path, ranks: int, device: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        await build_engine(str(noise), config(ranks, device))


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_shards_are_the_whole(ranks: int, tmp_path: Path) -> None:
    """Each rank has its slices of heads and columns, and what all need; rank 0 has the rest too."""
    sizes = {"num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 64}
    folder = write_checkpoint(tmp_path / "x", "1.7B-CustomVoice", config_overrides={"talker_config": sizes})
    cpu, dtype = torch.device("cpu"), torch.float32
    whole = load_checkpoint(folder, cpu, dtype)
    parts = [dict(load_checkpoint(folder, cpu, dtype, None, ranks).main)]
    parts += [dict(load_shard(str(folder), cpu, dtype, rank, ranks)[1]) for rank in range(1, ranks)]
    assert set(parts[0]) == set(whole.main)
    layers = "talker.model.layers."
    assert all(
        set(part) == {n for n in whole.main if n.startswith((layers, "talker.model.norm"))} for part in parts[1:]
    )
    for name in parts[1]:
        dealt = name.split(".")[-2] in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "o_proj", "down_proj")
        for rank, part in enumerate(parts):
            wanted = whole.main[name]
            if dealt:
                dim = 1 if name.split(".")[-2] in ("o_proj", "down_proj") else 0
                wanted = torch.cat(wanted.chunk(SLICES, dim)[rank::ranks], dim)
            torch.testing.assert_close(part[name], wanted, atol=0, rtol=0)


def test_heads_that_are_no_slices_are_dealt_out_in_pieces() -> None:
    from tests.engine.tiny import tiny_config

    talker = tiny_config().talker
    weight = torch.arange(talker.heads * talker.head_dim)[:, None].float()
    parts = [Shard(talker, rank, 2).take("talker.model.layers.0.self_attn.q_proj.weight", weight) for rank in range(2)]
    assert all(part is not None for part in parts)
    torch.testing.assert_close(torch.cat([part for part in parts if part is not None]), weight)
