"""The device's language models against the plain ones.

Talker, predictor; code by code.
Three runs of the same speeches, with the same codes given: the plain operations in fp32, which define the result; the
plain operations in the device's dtype, which show what its rounding costs on these weights; the device's own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.check.figures import Figure, at_least, at_most
from engine.check.probe import Trace, forced_errors, peaks
from engine.check.stages import Script, Stages, drawn_codes

SECTION = "language models"

# Two computations that round equally often have errors of one size; fused kernels round less often than plain PyTorch,
# which rounds after every operation. Twice leaves room for the chance of few frames.
ROOM = 2.0
ONE_ROUNDING = 2.0**-8  # bf16 has 8 bits: no error below one rounding is told from another
# A code that is chosen otherwise is a near tie of two logits, or a number on the border between two codes. They are as
# many as the logits' rounding makes them, ROOM times over; the rest is chance, for some hundred codes are compared.
CHANCE = 0.02
# The server's own run differs by its batch: on a GPU not at all, in fp32 by 2^-24 of a sum, so that 1 of 20,000 numbers
# falls between; in bf16 on a CPU by a rounding of bf16.
SAME_SERVED = {torch.float32: 0.99, torch.bfloat16: 0.90}
# fp32 rounds at 2^-24. A sum of 6,000 products in another order differs by some 80 of that, 5e-6; what a half layer
# adds may be a twentieth of the terms that cancel in it. Sixty half layers add up like a random walk.
EXACT_HALF, EXACT_LOGITS = 1e-4, 1e-3
UNUSABLE = 0.5  # logits whose error is half their size say nothing, whatever rounding did it
HEADROOM = 0.5  # of the largest number of a dtype: other texts are louder, perhaps twice
SHOWN = 3  # names in a note


@dataclass(frozen=True, slots=True)
class Runs:
    """Traces of all speeches.

    With codes given, then with half layers forced too.
    """

    free: Sequence[Trace]
    forced: Sequence[Trace] = ()


def exact_runs(stages: Stages, scripts: Sequence[Script]) -> tuple[Runs, list[Script]]:
    """Recorded runs, with scripts for the others.

    These have codes.
    """
    traces = [stages.run(script, record=True) for script in scripts]
    groups = stages.config.code_groups
    taught = [
        script if script.codes is not None else script.taught(drawn_codes(trace, groups))
        for script, trace in zip(scripts, traces, strict=True)
    ]
    return Runs(traces), taught


def runs_beside(stages: Stages, exact: Runs, scripts: Sequence[Script]) -> Runs:
    """Runs of the same speeches by other stages."""
    free = [stages.run(script) for script in scripts]
    forced = [stages.run(script, forced=trace.halves) for script, trace in zip(scripts, exact.free, strict=True)]
    return Runs(free, forced)


def compare(
    exact: Runs, plain: Runs | None, device: Runs, scripts: Sequence[Script], groups: int, dtype: torch.dtype
) -> Iterator[Figure]:
    """Figures of the device's runs.

    `plain` is None where the device computes in fp32 itself.
    """
    yield from _tokens(exact, plain, device, groups)
    yield _served(device, scripts, groups, dtype)
    yield _logits(exact, plain, device, groups)
    yield _halves(plain, device)
    yield from finite_figures(SECTION, [(name, value, dtype) for name, value in peaks(device.free)])


def finite_figures(section: str, peaks: Sequence[tuple[str, float, torch.dtype]]) -> Iterator[Figure]:
    """Figures of values that overflow, or come near it.

    `peaks`: name, largest magnitude and dtype of each result.
    """
    broken = list(dict.fromkeys(name for name, value, _ in peaks if not math.isfinite(value)))
    note = f"first in {broken[0]}" if broken else f"{len(peaks)} results looked at"
    yield at_most(section, "places with values that are not finite", len(broken), 0, ".0f", note)
    shares = {name: value / torch.finfo(dtype).max for name, value, dtype in peaks if math.isfinite(value)}
    name = max(shares, key=shares.__getitem__, default="")
    yield at_most(section, "largest value, of the dtype's largest", shares.get(name, 0.0), HEADROOM, ".2g", name)


def _tokens(exact: Runs, plain: Runs | None, device: Runs, groups: int) -> Iterator[Figure]:
    for name, chosen in (("codes whose best logit is the same", _best), ("codes drawn alike", _drawn)):
        share = _equal(chosen(device), chosen(exact))
        usual = 1.0 if plain is None else _equal(chosen(plain), chosen(exact))
        bound = 1.0 - ROOM * (1.0 - usual) - (0.01 if plain is None else CHANCE)
        note = "" if plain is None else f"plain rounding: {usual:.3f}"
        yield at_least(SECTION, name, share, bound, ".3f", note)


def _served(device: Runs, scripts: Sequence[Script], groups: int, dtype: torch.dtype) -> Figure:
    given = torch.cat([torch.from_numpy(script.codes).flatten() for script in scripts if script.codes is not None])
    share = _equal(_drawn(device), given)
    frames = f"{len(given) // groups} frames of {len(scripts)} speeches"
    return at_least(SECTION, "codes drawn as they were served", share, SAME_SERVED[dtype], ".3f", frames)


def _logits(exact: Runs, plain: Runs | None, device: Runs, groups: int) -> Figure:
    errors = _logit_errors(exact, device, groups)
    if plain is None:
        bounds = dict.fromkeys(errors, EXACT_LOGITS)
    else:
        usual = _logit_errors(exact, plain, groups)
        bounds = {name: min(ROOM * usual[name] + ONE_ROUNDING, UNUSABLE) for name in errors}
    return _worst("error of the logits, of their spread", errors, bounds)


def _halves(plain: Runs | None, device: Runs) -> Figure:
    errors = forced_errors(device.forced)
    if plain is None:
        bounds = dict.fromkeys(errors, EXACT_HALF)
    else:
        usual = forced_errors(plain.forced)
        bounds = {name: ROOM * usual[name] + ONE_ROUNDING for name in errors}
    return _worst("error of one half layer, of what it adds", errors, bounds)


def _worst(figure: str, errors: Mapping[str, float], bounds: Mapping[str, float]) -> Figure:
    """Figure of the error that is largest beside its bound."""
    shares = {name: math.inf if math.isnan(error) else error / bounds[name] for name, error in errors.items()}
    over = sorted((name for name in shares if shares[name] > 1), key=shares.__getitem__, reverse=True)
    worst = max(shares, key=shares.__getitem__)
    more = f" and {len(over) - SHOWN} more" if len(over) > SHOWN else ""
    note = ", ".join(over[:SHOWN] or [worst]) + more
    return at_most(SECTION, figure, errors[worst], bounds[worst], ".2g", note)


def _logit_errors(exact: Runs, other: Runs, groups: int) -> dict[str, float]:
    """Error of each codebook's logits, of their spread."""
    errors = {}
    for group in range(groups):
        wanted, found = (torch.stack(_of_group(runs, group, groups)).double() for runs in (exact, other))
        spread = (wanted - wanted.mean(-1, keepdim=True)).square().sum()
        noise = (found.to(wanted.device) - wanted).square().sum()
        errors[f"codebook {group}"] = float((noise / spread).sqrt())
    return errors


def _of_group(runs: Runs, group: int, groups: int) -> list[Tensor]:
    return [logits for trace in runs.free for logits in trace.logits[group::groups]]


def _best(runs: Runs) -> Tensor:
    return torch.stack([logits.argmax() for trace in runs.free for logits in trace.logits]).cpu()


def _drawn(runs: Runs) -> Tensor:
    return torch.cat([drawn for trace in runs.free for drawn in trace.drawn]).cpu()


def _equal(some: Tensor, others: Tensor) -> float:
    return float((some == others).double().mean())
