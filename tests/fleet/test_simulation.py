"""The simulated fleet: no turn gets lost in it, queues form where they must, faults do what they should."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from benchmarks.fleet_simulation import day, events
from benchmarks.fleet_simulation.device import BUCKET, Device, Observed, measured
from benchmarks.fleet_simulation.fleet import Fleet
from benchmarks.fleet_simulation.picture import Curve, draw
from benchmarks.fleet_simulation.traffic import Traffic, peak, rate


@pytest.fixture
def device() -> Device:
    """First audio after 10 ms; 6,000 frames a second shared by all, at most 200 each."""
    buckets = np.arange(33)
    return Device(tuple(np.array([0.01]) for _ in buckets), np.minimum(200.0, 6_000.0 / np.maximum(1, 4 * buckets)))


def test_the_scheduler_gives_first_audio_and_pace_by_open_turns() -> None:
    found = measured([40])
    assert len(found.first) == len(found.frames) == found.slots // BUCKET + 1
    assert 0.005 < found.first[2][0] < 0.05 and 50 < found.frames[2] < 400
    run = Observed(40)
    run.run()
    assert len(run.met) == len(run.first) and min(run.met.values()) <= 1


@pytest.mark.parametrize("balance", ["random", "two", "round"])
def test_every_turn_is_spoken_where_there_is_room(device: Device, balance: str) -> None:
    run = events.steady(device, 4, 4 * 40, balance, 10.0)
    results = run.results
    assert len(results.first) == results.turns > 1_000 and not results.refused and not results.lost
    assert run.whole == pytest.approx(0.01)


def test_beyond_capacity_turns_wait_and_then_are_refused(device: Device) -> None:
    run = events.steady(device, 1, 300, "random", 20.0)
    assert run.whole > 1.0 and run.results.refused > 0
    assert len(run.results.first) + run.results.refused == run.results.turns


def test_longer_turns_keep_their_slot_while_the_listener_is_behind(device: Device) -> None:
    fleet = Fleet(device, 1)
    states = []
    for moment in (0.5, 3.0, 6.0):
        fleet.at(moment, lambda: states.append(fleet.gpus[0].open))
    fleet.run([(0.0, 125)])  # 10 s of audio, of which 5 s may lie ahead
    assert states == [1, 1, 0]


def test_a_lost_host_loses_its_open_turns_and_the_rest_take_over(device: Device) -> None:
    run = events.lost_host(device, 16, 16 * 30, 4, 10.0, 3.0)
    assert run.results.lost > 0 and len(run.results.first) >= run.results.turns
    assert run.p95[-2] == pytest.approx(0.01)


def test_a_rolling_update_loses_nothing(device: Device) -> None:
    run = events.rolling_update(device, 10, 10 * 20, 2, 10.0, 2.0)
    assert not run.results.lost and not run.results.refused and len(run.results.first) == run.results.turns


def test_servers_follow_the_load_once_a_host_has_come(device: Device) -> None:
    scaled, traffic = day.Scaled(device, most=6, spare=1), Traffic()
    scaled.watch(0.0, 300.0)
    results = scaled.fleet.run(traffic.steady(5, 0.0, 60.0) + traffic.steady(150, 60.0, 200.0))
    counts = dict(scaled.counts)
    assert counts[50.0] == counts[150.0] == 2 < counts[250.0]
    assert not results.lost and scaled.paid >= 300 * 2


def test_a_cost_is_of_a_million_characters() -> None:
    assert day.Day((), turns=10, refused=0, gpu_hours=3.0, characters=2e6).cost(2.0) == 3.0


def test_a_day_has_its_turns() -> None:
    moments = np.arange(0, 86_400, 60)
    assert sum(rate(float(moment), 1e6) for moment in moments) * 60 == pytest.approx(1e6, rel=0.01)
    assert max(rate(float(moment), 1e6) for moment in moments) == pytest.approx(peak(1e6), rel=0.01)
    turns = Traffic().steady(100, 5.0, 10.0)
    assert all(5 <= begin < 15 and frames > 0 for begin, frames in turns) and 800 < len(turns) < 1_200


def test_a_picture_is_well_formed() -> None:
    picture = draw("A & B", "hours", [0, 1, 2], [Curve("one", [1, 2, 3]), Curve("two", [9, 8, 7], right=True)])
    assert ET.fromstring(picture).tag.endswith("svg")
