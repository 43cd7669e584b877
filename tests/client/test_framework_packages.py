"""The packages for agents' frameworks: what is in them, what they depend on."""

from pathlib import Path

import pytest

from qwentts_client import __version__

pytest.importorskip("hatchling")

from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

CLIENTS = Path(__file__).resolve().parents[2] / "clients"


@pytest.mark.parametrize(
    ("folder", "framework", "package"),
    [
        ("pipecat", "pipecat-ai", "pipecat_qwentts"),
        ("livekit", "livekit-agents", "livekit/plugins/qwentts"),
    ],
)
def test_a_package(folder: str, framework: str, package: str, tmp_path: Path) -> None:
    builder = WheelBuilder(str(CLIENTS / folder))
    files = {str(file.distribution_path) for file in builder.recurse_included_files()}
    assert {str(Path(name).parent) for name in files} == {package}, "namespaces have no files of their own"
    assert {f"{package}/py.typed", f"{package}/__init__.py"} <= files
    needed = {need.name: need.specifier for need in map(Requirement, builder.metadata.core.dependencies)}
    assert set(needed) == {framework, "qwentts-client"} and __version__ in needed["qwentts-client"]
    (wheel,) = builder.build(directory=str(tmp_path))
    assert Path(wheel).stat().st_size < 100_000
