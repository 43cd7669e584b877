"""Lateness of audio at the caller, split by cause.

Of a chunk that comes after ideal playback has run dry,
client: from the chunk's arrival in the outbox until the caller came for it;
text: what an engine that needs `RESPONSE` from text to audio could not have made good;
engine: the rest, waits for a slot and recomputation included.
"""

from dataclasses import dataclass, field

CAUSES = ("text", "engine", "client")
RESPONSE = 0.15  # seconds before its audio is due, after which text is late


def split(late: float, now: float, unread: float, text_came: float | None) -> dict[str, float]:
    """Seconds by cause, which add up to `late`.

    `now`: when the chunk was taken. `unread`: seconds for which the chunk was ready while the caller was busy.
    `text_came`: when text came that a frame of the chunk had waited for; None where the text had been there before.
    """
    client = min(late, unread)
    due = now - late
    text = 0.0 if text_came is None else min(late - client, max(0.0, text_came + RESPONSE - due))
    return {"text": text, "engine": late - client - text, "client": client}


@dataclass(slots=True)
class LatenessTotals:
    """Lateness of one turn by cause.

    `seconds`, and `underruns`, each counted under its largest share.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    underruns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))

    def add(self, shares: dict[str, float]) -> str:
        """Add an underrun; return its main cause."""
        cause = max(shares, key=lambda each: shares[each])
        self.underruns[cause] += 1
        for each, seconds in shares.items():
            self.seconds[each] += seconds
        return cause
