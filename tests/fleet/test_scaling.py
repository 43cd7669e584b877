"""How many servers a load asks for, and what one server's metrics say of its load."""

from pathlib import Path

import pytest

from qwentts_fleet.load import Load, parse
from qwentts_fleet.scaling import Scaler
from qwentts_fleet.settings import Settings, read

SETTINGS = Settings(least=1, most=4, busy=0.5, wait=0.05, down_after=10.0)


def loads(*turns: int, waited: float = 0.0, started: float = 0.0) -> dict[str, Load]:
    return {str(n): Load(slots=4, running=each, waited=waited, started=started) for n, each in enumerate(turns)}


@pytest.mark.parametrize(("turns", "asked"), [((0,), 1), ((2,), 1), ((3,), 2), ((4, 4), 4), ((4, 4, 4, 4), 4)])
def test_open_turns_ask_for_servers_within_the_bounds(turns: tuple[int, ...], asked: int) -> None:
    assert Scaler(SETTINGS).decide(loads(*turns), 1, 0.0) == asked


def test_waits_for_a_slot_ask_for_one_more() -> None:
    scaler = Scaler(SETTINGS)
    assert scaler.decide(loads(1, waited=3.0, started=30.0), 1, 0.0) == 1  # of the past
    assert scaler.decide(loads(1, waited=3.01, started=31.0), 1, 1.0) == 1
    assert scaler.decide(loads(1, waited=3.5, started=32.0), 1, 2.0) == 2


def test_a_restarted_servers_counters_begin_anew() -> None:
    scaler = Scaler(SETTINGS)
    scaler.decide(loads(1, waited=30.0, started=30.0), 1, 0.0)
    assert scaler.decide(loads(1, waited=0.0, started=1.0), 1, 1.0) == 1


def test_fewer_servers_come_only_after_a_while_of_little_load() -> None:
    scaler = Scaler(SETTINGS)
    assert scaler.decide(loads(0, 0, 0), 3, 0.0) == 3
    assert scaler.decide(loads(4, 2, 0), 3, 9.0) == 3
    assert scaler.decide(loads(0, 0, 0), 3, 11.0) == 3
    assert scaler.decide(loads(0, 0, 0), 3, 20.0) == 3
    assert scaler.decide(loads(0, 0, 0), 3, 21.0) == 1


def test_nothing_known_changes_nothing() -> None:
    assert Scaler(SETTINGS).decide({}, 3, 100.0) == 3


def test_metrics_say_what_is_open_for_whom() -> None:
    load = parse(
        "tts_engine_slots 4\ntts_engine_sequences_running 3\ntts_queue_depth_requests 2\n"
        "tts_queue_capacity_requests 8\ntts_queue_wait_seconds_sum 1.5\ntts_queue_wait_seconds_count 6\n"
        'tts_tenant_turns_open{tenant="acme"} 4\ntts_tenant_turns_open{tenant="idle"} 0\n'
    )
    assert (load.slots, load.running, load.queued, load.free, load.room) == (4, 3, 2, 0, 7)
    assert (load.waited, load.started) == (1.5, 6.0) and load.tenants == {"acme": 4}


def test_a_tenants_limit_is_shared_among_the_most_servers() -> None:
    assert Settings(tenant_limit=8, most=4).flags()[:2] == ["--tenant-limit", "2"]
    assert Settings(tenant_limit=2, most=4).flags()[:2] == ["--tenant-limit", "1"]
    assert "--tenant-limit" not in Settings().flags()


def test_settings_are_read_and_unknown_or_wrong_ones_refused(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('serve = ["--model", "m"]\nleast = 2\nports = [1, 2]\n')
    assert read(file) == Settings(serve=("--model", "m"), least=2, ports=(1, 2))
    for wrong in ("nonsense = 1", "least = 9", "ports = []", "busy = 2.0", "= 3"):
        file.write_text(wrong)
        with pytest.raises(ValueError):
            read(file)
