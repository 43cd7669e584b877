"""Figures of a check, each with its bound."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """Judgement of one figure."""

    PASS = "pass"
    FAIL = "fail"
    SLOW = "slow"  # below real time, which is no fault of the speech
    NOTE = "note"  # for the reader to judge
    SKIPPED = "skipped"  # what it needs is not here


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    `value` is None where nothing was measured; `bound` says what passes, `note` where or why.
    """

    section: str
    name: str
    value: float | None
    shown: str
    bound: str
    verdict: Verdict
    note: str = ""


def at_least(section: str, name: str, value: float, bound: float, form: str, note: str = "") -> Figure:
    """Figure that passes from `bound` up; NaN fails."""
    verdict = Verdict.PASS if value >= bound else Verdict.FAIL
    return Figure(section, name, value, format(value, form), f">= {format(bound, form)}", verdict, note)


def at_most(section: str, name: str, value: float, bound: float, form: str, note: str = "") -> Figure:
    """Figure that passes up to `bound`; NaN fails."""
    verdict = Verdict.PASS if value <= bound else Verdict.FAIL
    return Figure(section, name, value, format(value, form), f"<= {format(bound, form)}", verdict, note)


def noted(section: str, name: str, value: float | None, shown: str, note: str = "") -> Figure:
    """Figure without a bound."""
    return Figure(section, name, value, shown, "", Verdict.NOTE, note)


def skipped(section: str, name: str, why: str) -> Figure:
    """Row of something that could not be run."""
    return Figure(section, name, None, "", "", Verdict.SKIPPED, why)


def failed(section: str, name: str, why: str) -> Figure:
    """Row of something that broke down."""
    return Figure(section, name, None, "", "", Verdict.FAIL, why)


def passed(figures: Iterable[Figure]) -> bool:
    """Whether no figure failed."""
    return all(figure.verdict is not Verdict.FAIL for figure in figures)


def decibels(signal: float, noise: float) -> float:
    """Signal to noise of two powers; NaN counts as none."""
    if math.isnan(signal) or math.isnan(noise) or signal == 0:
        return -math.inf
    return math.inf if noise == 0 else 10 * math.log10(signal / noise) if math.isfinite(noise) else -math.inf
