"""Lateness is split by cause, exactly; waits for text and for playback are no work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.lateness import CAUSES, RESPONSE, LatenessTotals, split
from engine.scheduler.waits import Waits

DUE = 10.0  # when playback ran dry
ROOM = RESPONSE


@pytest.mark.parametrize(
    ("late", "unread", "text_came", "text", "engine", "client"),
    [
        (0.0, 0.0, None, 0.0, 0.0, 0.0),
        (0.0, 0.0, DUE - 0.01, 0.0, 0.0, 0.0),  # text at the last moment, audio in time
        (0.3, 0.0, None, 0.0, 0.3, 0.0),
        (3.1, 0.0, DUE + 3.0, 3.1, 0.0, 0.0),  # a tool call, answered within the response time
        (3.6, 0.0, DUE + 3.0, 3.0 + ROOM, 0.6 - ROOM, 0.0),  # the same, and then a slow engine
        (0.5, 0.0, DUE - ROOM, 0.0, 0.5, 0.0),  # text that came just early enough
        (0.5, 0.0, DUE - 0.05, ROOM - 0.05, 0.55 - ROOM, 0.0),
        (3.0, 3.0, None, 0.0, 0.0, 3.0),
        (3.0, 8.0, None, 0.0, 0.0, 3.0),  # ready long before it was due
        (3.0, 2.0, None, 0.0, 1.0, 2.0),  # came late, and was then left lying
        (4.0, 1.0, DUE + 1.0, 1.0 + ROOM, 2.0 - ROOM, 1.0),  # all three
    ],
)
def test_shares(late: float, unread: float, text_came: float | None, text: float, engine: float, client: float) -> None:
    shares = split(late, DUE + late, unread, text_came)
    assert shares == pytest.approx({"text": text, "engine": engine, "client": client})


TIMES = st.floats(0, 100, allow_subnormal=False)


@given(TIMES, TIMES, TIMES | st.none(), TIMES)
def test_shares_are_parts_of_the_whole(late: float, unread: float, text_came: float | None, now: float) -> None:
    shares = split(late, now, unread, text_came)
    assert tuple(shares) == CAUSES
    assert min(shares.values()) >= 0
    assert sum(shares.values()) == pytest.approx(late)


def test_an_underrun_counts_under_its_largest_share() -> None:
    totals = LatenessTotals()
    assert totals.add({"text": 1.0, "engine": 0.5, "client": 0.0}) == "text"
    assert totals.add({"text": 0.0, "engine": 0.5, "client": 0.75}) == "client"
    assert totals.underruns == {"text": 1, "engine": 0, "client": 1}
    assert totals.seconds == {"text": 1.0, "engine": 1.0, "client": 0.75}


def test_waits_are_no_work() -> None:
    waits = Waits()
    waits.starve(1.0)  # before it has a slot, at 2.0
    waits.record_text(0, 4.0)
    assert waits.resume(4.5, admitted=2.0) == 3.0  # the text came before anybody looked
    waits.pace(True, 6.0)
    waits.pace(True, 6.5)
    waits.pace(False, 7.0)
    waits.starve(8.0)
    assert waits.work(2.0, 10.0) == pytest.approx(8.0 - 2.0 - 1.0 - 2.0)
    waits.record_text(5, 9.0)
    waits.resume(9.0, admitted=2.0)
    waits.pace(True, 9.5)
    assert waits.work(2.0, 10.0) == pytest.approx(8.0 - 2.0 - 1.0 - 1.0 - 0.5)


def test_text_belongs_to_the_chunk_whose_frame_waited_for_it() -> None:
    waits = Waits()
    for frame, came in ((0, 1.0), (3, 2.0), (3, 3.0), (9, 4.0)):  # 3 twice: a segment without anything to speak
        waits.record_text(frame, came)
    assert [waits.text_for(frames) for frames in (1, 3, 4, 8, 12, 24)] == [1.0, None, 3.0, None, 4.0, None]
    assert waits.text_came == 1.0
