"""Storms of attacks beside a witness: a part of `make abuse`."""

from pathlib import Path

import pytest

from engine.checkpoint.dummy import write_checkpoint

from .attacker import CALLERS, STRANGERS
from .listening import StepPacer
from .suite import abused, stopped, tried

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

PATIENT = StepPacer(audio=3.0, lead=2.5, buffer=2.0)  # for machines that are busy with other things


async def test_a_storm_harms_no_known_caller_and_delays_no_stop(tmp_path: Path) -> None:
    kinds = {"custom": "1.7B-CustomVoice", "base": "0.6B-Base"}
    models = [write_checkpoint(tmp_path / name, kind, seed=3) for name, kind in kinds.items()]
    attacks = [attack.__name__ for attack in (*STRANGERS, *CALLERS)]
    async with abused(tmp_path, models) as server:
        result = await tried(server, "storm of all", attacks, PATIENT, 2.0)
        await stopped(server, attacks, result)
    print(result)
    assert not result.wrong
