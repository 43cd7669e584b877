"""Pages of Prometheus's text format 0.0.4, parsed for merging."""

import re
from dataclasses import dataclass, field
from functools import lru_cache

MOST_SERIES = 16_384  # whose text is parsed once only; a server has under a thousand

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*"'
_SERIES = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL}(?:,{_LABEL})*,?)?)\}})?")
_LABELS = re.compile(_LABEL)
_VALUE = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf)|NaN")
_HEADER = re.compile(rf"# (HELP|TYPE) ({_NAME})(?: (.*))?")
_KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}


@dataclass(slots=True)
class Family:
    """Samples of one metric by series.

    A series is its name with its labels, sorted.
    """

    name: str
    kind: str = "untyped"
    help: str | None = None
    samples: dict[str, float] = field(default_factory=dict)

    @property
    def header(self) -> str:
        """Its lines of HELP, TYPE."""
        described = "" if self.help is None else f"# HELP {self.name} {self.help}\n"
        return f"{described}# TYPE {self.name} {self.kind}\n"


Page = dict[str, Family]


def parse(page: bytes) -> Page:
    """Families by name, in their order; raises ValueError.

    Every line ends in a newline, which a page that was cut off lacks. Samples have no time.
    """
    text = page.decode()
    if not text.endswith("\n"):
        raise ValueError("no newline at its end")
    families: Page = {}
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            _read_header(line, families)
        elif line:
            _read_sample(line, families)
    return families


def labelled(series: str, name: str, value: str) -> str:
    """`series` with one label more."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    bare, _, labels = series.removesuffix("}").partition("{")
    return f'{bare}{{{labels}{"," if labels else ""}{name}="{escaped}"}}'


def _read_header(line: str, families: Page) -> None:
    if found := _HEADER.fullmatch(line):
        what, name, text = found.groups(default="")
        family = families.setdefault(name, Family(name))
        if what == "HELP":
            family.help = text
        elif text not in _KINDS or family.samples:
            raise ValueError(f"a type out of place: {line!r}")
        else:
            family.kind = text


def _read_sample(line: str, families: Page) -> None:
    text, _, value = line.rpartition(" ")
    name, series = _series(text)
    samples = _family(name, families).samples
    if series in samples or not _VALUE.fullmatch(value):
        raise ValueError(f"a series twice, or no number: {line!r}")
    samples[series] = float(value)


def _family(name: str, families: Page) -> Family:
    if name in families:
        return families[name]
    base, _, suffix = name.rpartition("_")
    family = families.get(base)
    if family and family.kind in ("histogram", "summary") and suffix in ("bucket", "sum", "count"):
        return family
    return families.setdefault(name, Family(name))


@lru_cache(MOST_SERIES)
def _series(text: str) -> tuple[str, str]:
    """Name of a sample with its series."""
    found = _SERIES.fullmatch(text)
    if not found:
        raise ValueError(f"no series: {text!r}")
    labels = sorted(_LABELS.findall(found[2] or ""))
    if len({label.partition("=")[0] for label in labels}) < len(labels):
        raise ValueError(f"a label twice: {text!r}")
    return found[1], f"{found[1]}{{{','.join(labels)}}}" if labels else found[1]
