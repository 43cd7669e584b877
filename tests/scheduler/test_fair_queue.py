"""Slots go round among tenants: a crowd of one keeps nobody else waiting, and each tenant's own keep their order."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.request import Delivery, Sampling, SpeechRequest
from engine.scheduler import admission
from engine.scheduler.fair_queue import ahead, fair_order
from tests.engine.drive import FLAVOURS, INCREMENTAL, Drive, Flavour, Talk, check_whole

TENANTS = ("acme", "globex", "initech")


def open_turn(drive: Drive, tenant: str, frames: int = 20) -> Talk:
    drive.now += 1e-4
    request = SpeechRequest(
        tenant=tenant, sampling=Sampling(max_frames=frames), delivery=Delivery(text_mode=INCREMENTAL)
    )
    talk = drive.open(request, seed=len(drive.talks))
    talk.say("A text which is spoken for so many frames as its request allows.")
    return talk


def order(talks: list[Talk]) -> list[Talk]:
    """As they got their slots."""
    return sorted(talks, key=lambda talk: (talk.sequence.admitted or 0.0, talk.sequence.arrived))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_crowd_of_one_tenant_lets_another_in_next(flavour: Flavour) -> None:
    drive = Drive(flavour, slots=4)
    crowd = [open_turn(drive, "acme") for _ in range(40)]
    drive.steps(5)
    late = [open_turn(drive, "globex") for _ in range(2)]
    drive.run()
    drive.idle()
    assert all(talk.end is not None for talk in crowd)
    assert all(talk in order(crowd + late)[4:8] for talk in late)
    assert order(crowd) == crowd and order(late) == late


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_crowd_that_is_far_ahead_of_its_listeners_lends_a_slot(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "SPARE_LEAD", 1.0)
    drive = Drive(flavour, slots=4)
    crowd = [open_turn(drive, "acme", frames=150) for _ in range(6)]
    drive.steps(20)
    assert all(talk.end is None and talk.sequence.lead(drive.now) > 1.0 for talk in crowd[:4])
    late = [open_turn(drive, "globex", frames=30) for _ in range(3)]
    drive.steps(5)
    assert [talk.sequence.slot is not None for talk in late] == [True, True, False]
    assert Counter(running.request.tenant for running in drive.scheduler.running) == {"acme": 2, "globex": 2}
    drive.run()
    drive.idle()
    assert all(talk.end is not None for talk in crowd + late)
    for talk in crowd + late:  # whether it kept its slot or not
        check_whole(talk)
    assert [talk.sequence.playback.underruns for talk in late] == [0, 0, 0]


def test_a_crowd_without_audio_to_spare_keeps_its_slots() -> None:
    drive = Drive("at once", slots=4)
    for _ in range(4):
        open_turn(drive, "acme", frames=150)
    drive.steps(10)
    late = open_turn(drive, "globex", frames=10)
    drive.steps(5)
    assert late.sequence.slot is None
    drive.run()
    assert late.end is not None


def test_without_tenants_first_come_is_first_served() -> None:
    drive = Drive("at once", slots=2)
    talks = [open_turn(drive, "") for _ in range(12)]
    drive.run()
    assert order(talks) == talks


def test_those_who_lost_their_slot_come_first() -> None:
    drive = Drive("at once", slots=2)
    parked = drive.open(SpeechRequest(tenant="acme", delivery=Delivery(text_mode=INCREMENTAL)))
    parked.feed("Hello there, my ")
    drive.steps(60)
    drive.now += 5.0
    others = [open_turn(drive, tenant, frames=30) for tenant in ("acme", "acme", "globex", "globex")]
    drive.steps(5)
    assert parked.sequence.slot is None
    parked.say("old friend of mine.")
    drive.steps(35)
    assert parked.sequence.slot is not None and any(talk.sequence.admitted is None for talk in others)
    drive.run()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(TENANTS), max_size=12), st.lists(st.sampled_from(TENANTS), max_size=12))
def test_those_ahead_are_those_who_go_first(held: list[str], queued: list[str]) -> None:
    drive = Drive("at once", slots=max(1, len(held)))
    for tenant in held:
        open_turn(drive, tenant)
    drive.steps(2)
    for tenant in queued:
        open_turn(drive, tenant)
    foreseen = {tenant: drive.scheduler.ahead(tenant) for tenant in TENANTS}
    for tenant in TENANTS:
        drive.now += 1e-4
        mine = open_turn(drive, tenant)
        waiting = [sequence for sequence in drive.scheduler.waiting if sequence.needs_slot]
        going = list(fair_order(waiting, drive.scheduler.running))
        assert going.index(mine.sequence) == foreseen[tenant]
        drive.cancel(mine)


def test_ahead_counts_nobody_twice() -> None:
    assert ahead("acme", Counter(), Counter()) == 0
    assert ahead("acme", Counter(globex=10), Counter(globex=4)) == 0
    assert ahead("acme", Counter(globex=10), Counter(acme=4)) == 5
