"""Kernels that other processes compile: found in the cache, and compiled on the spot where that fails."""

import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from triton import knobs

from engine.ops.reference import ReferenceOps
from engine.ops.triton import parallel_compile, rows
from engine.ops.triton.parallel_compile import compile_in_processes
from engine.progress import Progress

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each kernel that this process asks for from now on, whether the cache, empty at first, has it."""
    found = list[bool]()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(knobs.compilation, "listener", lambda *, cache_hit, **_about: found.append(cache_hit))
    rows._rms_norm.device_caches.clear()
    return found


def test_launches_find_kernels_in_the_cache(compiled: list[bool]) -> None:
    with compile_in_processes(Progress("compiling", "kernels")):
        agrees()
    assert compiled == [True]


def test_nothing_is_started_for_kernels_that_are_there(
    compiled: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with compile_in_processes(Progress("compiling", "kernels")):
        agrees()
    rows._rms_norm.device_caches.clear()
    monkeypatch.setattr(parallel_compile, "LIMIT", 0.0)  # so that waiting for a process would be noticed
    with compile_in_processes(Progress("compiling", "kernels")):
        agrees()
    assert compiled == [True, True]
    assert not caplog.records


def test_a_kernel_that_does_not_come_is_compiled_on_the_spot(
    compiled: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(parallel_compile, "LIMIT", 0.0)
    with caplog.at_level(logging.WARNING), compile_in_processes(Progress("compiling", "kernels")):
        agrees()
    assert compiled == [False]
    assert "_rms_norm was not compiled by another process" in caplog.text


def test_without_processes_kernels_are_compiled_on_the_spot(
    compiled: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with caplog.at_level(logging.WARNING), compile_in_processes(Progress("compiling", "kernels")):
        agrees()
    assert compiled == [False]
    assert "_rms_norm was not compiled by another process" in caplog.text


def agrees() -> None:
    x, norm = (torch.randn(*shape, device="cuda", dtype=torch.bfloat16) for shape in ((3, 1024), (1024,)))
    made: Tensor = rows.rms_norm(x, norm, 1e-6)
    torch.testing.assert_close(made, ReferenceOps().rms_norm(x, norm, 1e-6))
