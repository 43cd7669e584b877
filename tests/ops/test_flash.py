"""The flash-attn backend without flash-attn or a GPU: its calls against a plain oracle, its tables, and its choice."""

import importlib
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any, cast, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.api.config import Attention, EngineConfig
from engine.api.errors import CheckpointError
from engine.model.layers import rope_tables
from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Ops
from engine.ops.reference import ReferenceOps, rotate
from engine.ops.select import ATTENTIONS, choose
from tests.engine.tiny import tiny_config
from tests.ops import flash_attn_oracle

REFERENCE = ReferenceOps()
HEADS, GROUPS, WIDTH, PAGE = 4, 2, 16, 256
CUDA, BF16 = torch.device("cuda"), torch.bfloat16


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Any:
    """engine.ops.flash_attn.paged over the oracle."""
    monkeypatch.setitem(sys.modules, "flash_attn", flash_attn_oracle)
    monkeypatch.delitem(sys.modules, "engine.ops.flash_attn.paged", raising=False)
    module = importlib.import_module("engine.ops.flash_attn.paged")
    monkeypatch.delitem(sys.modules, "engine.ops.flash_attn.paged")
    return module


class Scene:
    """A paged cache with something in it, and projected rows to attend with."""

    def __init__(self, slots: list[int], positions: list[int]) -> None:
        torch.manual_seed(0)
        blocks, held = 9, 3
        table = torch.tensor([[0] * held, [5, 2, 7], [1, 8, 3]], dtype=torch.int32)
        self.metadata = AttentionMetadata(table, torch.tensor(slots), torch.tensor(positions))
        shape = (blocks, PAGE, GROUPS, WIDTH)
        self.cache = LayerCache(torch.randn(shape), torch.randn(shape))
        self.norms = HeadNorms(torch.rand(WIDTH) + 0.5, torch.rand(WIDTH) + 0.5, 1e-6)
        self.qkv = torch.randn(len(slots), (HEADS + 2 * GROUPS) * WIDTH)
        self.rope = rope_tables(replace(tiny_config().talker, head_dim=WIDTH), held * PAGE, self.qkv)

    def queries(self) -> Tensor:
        raw = self.qkv.view(len(self.qkv), -1, WIDTH)[:, :HEADS]
        normed = REFERENCE.rms_norm(raw, self.norms.query, self.norms.eps)
        return rotate(normed, self.rope, self.metadata.positions)

    def attend(self, name: str) -> Tensor:
        """The definition, which stores the rows' keys and values too."""
        return cast(Tensor, getattr(REFERENCE, name)(self.qkv, self.norms, self.rope, self.cache, self.metadata))


def test_decode_is_the_definition(flash: Any) -> None:
    scene = Scene([1, 2, 0, 2], [600, 0, 0, 255])
    wanted = scene.attend("paged_decode")
    torch.testing.assert_close(flash.decode(scene.queries(), scene.cache, scene.metadata), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("slots", "positions"),
    [
        ([2] * 5, [0, 1, 2, 3, 4]),
        ([1] * 3 + [2] * 4, [254, 255, 256, 510, 511, 512, 513]),
        ([2, 1, 1, 1], [700, 0, 1, 2]),
        ([1], [3]),
    ],
    ids=str,
)
def test_prefill_is_the_definition(flash: Any, slots: list[int], positions: list[int]) -> None:
    padding = 3  # the dummy slot, whose output nobody reads
    scene = Scene(slots + [0] * padding, positions + [0] * padding)
    wanted = scene.attend("paged_prefill")
    out = flash.prefill(scene.queries(), scene.cache, scene.metadata)
    torch.testing.assert_close(out[:-padding], wanted[:-padding], atol=1e-5, rtol=1e-5)
    assert out.isfinite().all()


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 500)), min_size=1, max_size=6),
    st.permutations(range(6)),
)
def test_runs_are_the_neighbours_of_one_slot(runs: list[tuple[int, int]], order: list[int]) -> None:
    table = torch.arange(12, dtype=torch.int32).view(6, 2)
    slots = [slot for slot, (length, _) in zip(order, runs, strict=False) for _ in range(length)]
    positions = [first + i for length, first in runs for i in range(length)]
    found = AttentionMetadata(table, torch.tensor(slots), torch.tensor(positions)).runs
    lengths, seen = found.rows.diff().tolist(), found.keys.diff().tolist()
    assert [(n, k) for n, k in zip(lengths, seen, strict=True) if n] == [(n, first + n) for n, first in runs]
    assert sum(lengths) == len(slots) and not any(seen[len(runs) :])
    assert len(found.tables) == min(len(slots), len(table))
    assert torch.equal(found.tables[: len(runs)], table[order[: len(runs)]])


@pytest.mark.parametrize(
    ("heads", "groups", "width", "refused"),
    [(4, 2, 16, False), (6, 2, 64, False), (3, 3, 80, False), (16, 1, 256, False), (4, 2, 264, True), (4, 2, 20, True)],
)
def test_head_sizes_that_it_takes(flash: Any, heads: int, groups: int, width: int, refused: bool) -> None:
    assert (flash.misfit(heads, groups, width, torch.device("cpu")) is not None) is refused


def test_a_build_without_a_head_size_is_found_out(flash: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*args: Any, **options: Any) -> Tensor:
        raise RuntimeError("no kernel image\nfor this head size")

    monkeypatch.setattr(flash, "flash_attn_varlen_func", lacking)
    assert (
        flash.misfit(8, 2, 64, torch.device("cpu")) == "8 heads of 64 over 2 here (no kernel image for this head size)"
    )


class Named:
    """Stands for an implementation that needs a GPU."""

    def __init__(self, name: str = "triton") -> None:
        self.attention = name


class FlashNamed(Named):
    block_size = PAGE
    refused: str | None = None

    @classmethod
    def misfit(cls, heads: int, groups: int, width: int, device: torch.device) -> str | None:
        return cls.refused

    def __init__(self) -> None:
        super().__init__("flash-attn")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One with Triton and flash-attn."""
    triton, flash = ModuleType("engine.ops.triton.ops"), ModuleType("engine.ops.flash_attn.ops")
    vars(triton)["TritonOps"], vars(flash)["FlashOps"] = Named, FlashNamed
    monkeypatch.setitem(sys.modules, "engine.ops.triton.ops", triton)
    monkeypatch.setitem(sys.modules, "engine.ops.flash_attn.ops", flash)
    return monkeypatch


def chosen(attention: Attention = "auto", dtype: torch.dtype = BF16, **settings: Any) -> Ops:
    return choose(EngineConfig(attention=attention, **settings), tiny_config().talker, CUDA, dtype)


def test_every_attention_can_be_named() -> None:
    assert get_args(Attention) == ("auto", *ATTENTIONS)


def test_flash_attn_is_taken_where_it_is(machine: pytest.MonkeyPatch) -> None:
    assert chosen().attention == chosen("flash-attn").attention == "flash-attn"
    assert chosen(block_size=512).attention == "flash-attn"
    assert chosen("triton").attention == "triton"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"block_size": 16}, "blocks of 16 positions"), ({"dtype": torch.float32}, "torch.float32")],
    ids=str,
)
def test_flash_attn_gives_way_unless_named(machine: pytest.MonkeyPatch, settings: dict[str, Any], reason: str) -> None:
    assert chosen(**settings).attention == "triton"
    with pytest.raises(CheckpointError, match=reason):
        chosen("flash-attn", **settings)


def test_flash_attn_gives_way_to_a_talker_that_it_does_not_take(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(FlashNamed, "refused", "3 heads of 264 over 3")
    assert chosen().attention == "triton"
    with pytest.raises(CheckpointError, match="does not take 3 heads of 264 over 3"):
        chosen("flash-attn")


def test_without_flash_attn_there_is_triton(machine: pytest.MonkeyPatch) -> None:
    machine.setitem(sys.modules, "engine.ops.flash_attn.ops", None)
    assert chosen().attention == "triton"
    with pytest.raises(CheckpointError, match="flash-attn cannot be used"):
        chosen("flash-attn")


def test_a_cpu_and_the_definition_need_neither() -> None:
    heads, device = tiny_config().talker, torch.device("cpu")
    cpu = choose(EngineConfig(), heads, device, torch.float32)
    assert (cpu.name, cpu.attention) == ("reference", "torch")
    with pytest.raises(CheckpointError, match="on a GPU"):
        choose(EngineConfig(attention="flash-attn"), heads, device, torch.float32)
    assert chosen(reference_ops=True).name == "reference"
