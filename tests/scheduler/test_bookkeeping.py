"""Blocks, chunk sizes, the listener's clock and requests: small laws of plain values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import InvalidRequest
from engine.api.request import SHORTEST_LEAD, Delivery, Reference, Sampling, SamplingParams, SpeechRequest
from engine.scheduler import chunk_policy
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.playback import Playback


@given(
    size=st.integers(1, 5),
    capacity=st.integers(1, 20),
    script=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=40),
)
def test_no_block_is_lent_twice(size: int, capacity: int, script: list[tuple[int, int]]) -> None:
    pool = BlockPool(capacity, size)
    owners: list[list[int]] = [[] for _ in range(4)]
    for who, positions in script:
        held = list(owners[who])
        if positions == 0:
            pool.release(owners[who])
        elif pool.grow(owners[who], positions):
            assert len(owners[who]) == max(len(held), math.ceil(positions / size))
        else:
            assert owners[who] == held
            assert pool.needed(positions) - len(held) > capacity - pool.used
        lent = [block for owner in owners for block in owner]
        assert len(set(lent)) == len(lent) == pool.used
        assert all(1 <= block <= capacity for block in lent)


@given(pending=st.integers(0, 64), enough=st.integers(1, 12), largest=st.integers(1, 12))
def test_chunks_are_of_few_sizes_and_wait_for_no_more_than_asked(pending: int, enough: int, largest: int) -> None:
    count = chunk_policy.due(pending, enough, largest)
    assert count in (0, *chunk_policy.SIZES)
    assert count <= min(pending, largest)
    assert count > 0 or pending < min(enough, largest)


@pytest.mark.parametrize(("enough", "pending", "count"), [(1, 0, 0), (1, 3, 2), (4, 3, 0), (12, 11, 0), (12, 40, 12)])
def test_a_chunk_is_as_large_as_its_frames_allow(enough: int, pending: int, count: int) -> None:
    assert chunk_policy.due(pending, enough, 12) == count


@pytest.mark.parametrize(
    ("slack", "waited", "step", "grows"),
    [(0.15, 0.01, 0.01, True), (0.11, 0.05, 0.01, False), (0.07, 0.01, 0.03, False), (-0.1, 0.3, 0.01, False)],
)
def test_a_chunk_grows_until_a_third_of_the_slack_is_gone(
    slack: float, waited: float, step: float, grows: bool
) -> None:
    assert (step < chunk_policy.patience(slack, waited)) is grows


@given(st.integers(0, 200), st.sampled_from(chunk_policy.SIZES))
def test_the_calls_of_a_step_stay_in_its_budget(budget: int, size: int) -> None:
    streams = chunk_policy.most_streams(budget, size)
    assert streams >= 0
    assert (
        not streams
        or chunk_policy.CALL_FRAMES + streams * size <= budget < chunk_policy.CALL_FRAMES + (streams + 1) * size
    )


def test_the_largest_sizes_are_listed_right() -> None:
    sizes = [
        max((size for size in chunk_policy.SIZES if size <= frames), default=0)
        for frames in range(chunk_policy.SIZES[-1] + 1)
    ]
    assert list(chunk_policy.LARGEST) == sizes


@given(st.integers(1, chunk_policy.SIZES[-1]))
def test_a_chunk_fits_the_smallest_size_that_holds_it(frames: int) -> None:
    assert chunk_policy.fit(frames) == min(size for size in chunk_policy.SIZES if size >= frames)


def test_a_listener_who_is_served_in_time() -> None:
    playback = Playback(0.08)
    assert playback.slack(10.0) is None
    assert playback.played(10.0) == 0.0
    assert playback.deliver(2, 10.0) == (0.0, None)
    assert playback.slack(10.1) == pytest.approx(0.06)
    assert playback.played(10.08) == pytest.approx(1.0)
    late, gap = playback.deliver(1, 10.1)
    assert late == 0.0
    assert gap == pytest.approx(0.1)
    assert (playback.frames, playback.underruns) == (3, 0)
    assert playback.played(99.0) == 3


def test_a_listener_who_runs_dry_waits_and_goes_on_from_there() -> None:
    playback = Playback(0.08)
    playback.deliver(1, 0.0)
    late, gap = playback.deliver(1, 0.5)
    assert late == pytest.approx(0.42)
    assert gap == playback.longest_gap == pytest.approx(0.5)
    assert playback.underruns == 1
    assert playback.slack(0.5) == pytest.approx(0.08)
    assert playback.deliver(1, 0.55)[0] == 0.0
    assert playback.underruns == 1


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("sampling.temperature", Sampling(talker=SamplingParams(temperature=-0.1))),
        ("sampling.temperature", Sampling(talker=SamplingParams(temperature=math.nan))),
        ("sampling.top_p", Sampling(talker=SamplingParams(top_p=0.0))),
        ("sampling.top_p", Sampling(talker=SamplingParams(top_p=1.01))),
        ("sampling.top_k", Sampling(talker=SamplingParams(top_k=-1))),
        ("sampling.predictor_temperature", Sampling(predictor=SamplingParams(temperature=math.inf))),
        ("sampling.repetition_penalty", Sampling(repetition_penalty=0.0)),
        ("sampling.seed", Sampling(seed=2**64)),
        ("sampling.seed", Sampling(seed=-1)),
        ("sampling.max_audio", Sampling(max_frames=0)),
        ("delivery.first_chunk_frames", Delivery(first_chunk_frames=0)),
        ("delivery.max_chunk_frames", Delivery(max_chunk_frames=13)),
        ("delivery.max_lead", Delivery(max_lead=0.01)),
        ("delivery.input_idle_timeout", Delivery(input_idle_timeout=-1.0)),
    ],
)
def test_a_field_out_of_range_is_named(field: str, wrong: Sampling | Delivery) -> None:
    request = SpeechRequest(sampling=wrong) if isinstance(wrong, Sampling) else SpeechRequest(delivery=wrong)
    with pytest.raises(InvalidRequest) as raised:
        request.validate()
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("field", "reference"),
    [
        ("reference.audio", Reference(np.zeros(1_919, np.float32), "x")),
        ("reference.audio", Reference(np.zeros((2, 24_000), np.float32), "x")),
        ("reference.audio", Reference(np.full(24_000, np.nan, np.float32), "x")),
        ("reference.transcript", Reference(np.zeros(24_000, np.float32), " ")),
    ],
)
def test_a_recording_of_no_use_is_named(field: str, reference: Reference) -> None:
    with pytest.raises(InvalidRequest) as raised:
        SpeechRequest(reference=reference).validate()
    assert raised.value.field == field


def test_the_edges_of_every_range_are_allowed() -> None:
    pick = SamplingParams(temperature=0.0, top_k=0, top_p=1.0)
    edges = Sampling(talker=pick, predictor=pick, repetition_penalty=10.0, seed=2**64 - 1, max_frames=1)
    delivery = Delivery(first_chunk_frames=12, max_chunk_frames=1, max_lead=SHORTEST_LEAD, input_idle_timeout=0.0)
    SpeechRequest(sampling=edges, delivery=delivery).validate()
    SpeechRequest(reference=Reference(np.zeros(1_920, np.float32), speaker_embedding_only=True)).validate()
