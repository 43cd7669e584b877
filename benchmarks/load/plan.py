"""All requests of one trial, planned in advance.

Made before the first is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.prompts import Prompt
from benchmarks.load.schedule import arrivals, prompt_order

WARM_UP, MEASUREMENT = "warmup", "measurement"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings common to every rate; times in seconds.

    `max_lead` None leaves it to the server. `processes` share the requests of a trial, each with `channels` connections
    of its own. `server`: HOST:PORT, or several with commas, which the connections take in turn.
    """

    server: str
    voice: str = ""
    seconds: float = 25.0
    warm_up: float = 5.0
    first_chunk: int = 2
    max_lead: float | None = None
    processes: int = 2
    channels: int = 4


@dataclass(frozen=True, slots=True)
class Planned:
    """One request: its time after the trial's start, its seed.

    Times in seconds.
    """

    phase: str
    due: float
    prompt: Prompt
    seed: int


def plan(settings: Settings, rate: float, seed: int, prompts: Sequence[Prompt]) -> list[Planned]:
    """Warm-up, then the measurement right behind, under load."""
    warm_up = _phase(WARM_UP, 0.0, settings.warm_up, rate, seed, prompts)
    return warm_up + _phase(MEASUREMENT, settings.warm_up, settings.seconds, rate, seed, prompts)


def _phase(
    phase: str, start: float, seconds: float, rate: float, seed: int, prompts: Sequence[Prompt]
) -> list[Planned]:
    times = arrivals(seed, phase, rate, seconds)
    by_id = {prompt.id: prompt for prompt in prompts}
    ids = prompt_order(seed, phase, list(by_id), len(times))
    return [
        Planned(phase, start + time, by_id[name], slot)
        for slot, (time, name) in enumerate(zip(times, ids, strict=True))
    ]
