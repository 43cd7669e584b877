"""What a fused kernel does not take is the reference's, and the log says so once."""

import logging

import pytest
import torch

from engine.model.layers import rope_tables
from engine.ops import reference
from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache
from engine.ops.fallbacks import Fallbacks
from engine.ops.reference import ReferenceOps
from tests.engine.tiny import tiny_config


def test_an_operation_and_its_size_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    fallbacks = Fallbacks()
    with caplog.at_level(logging.INFO):
        assert not fallbacks.needed("sample", None)
        assert all(fallbacks.needed("sample", "70000 ids") for _ in range(3))
        assert fallbacks.needed("paged_decode", "heads of 320")
    assert [record.getMessage() for record in caplog.records] == [
        "sample runs in plain PyTorch: its fused kernel does not take 70000 ids",
        "paged_decode runs in plain PyTorch: its fused kernel does not take heads of 320",
    ]


@pytest.mark.parametrize("gathered", [1, 5000, 1 << 28])
def test_a_prompt_row_by_row_is_the_prompt_together(monkeypatch: pytest.MonkeyPatch, gathered: int) -> None:
    """What a graph captures, however few rows its memory lets it take at a time."""
    torch.manual_seed(0)
    monkeypatch.setattr(reference, "MOST_GATHERED", gathered)
    config, ops = tiny_config().talker, ReferenceOps()
    cache = LayerCache(*(torch.randn(9, 16, config.kv_heads, config.head_dim) for _ in range(2)))
    norms = HeadNorms(torch.rand(config.head_dim) + 0.5, torch.rand(config.head_dim) + 0.5, config.eps)
    qkv = torch.randn(7, (config.heads + 2 * config.kv_heads) * config.head_dim)
    rope = rope_tables(config, 64, qkv)
    table = torch.tensor([[1, 2, 3, 4], [8, 7, 6, 5]], dtype=torch.int32)
    metadata = AttentionMetadata(table, torch.tensor([0, 0, 0, 1, 1, 1, 1]), torch.tensor([14, 15, 16, 0, 1, 2, 3]))
    together = ops.paged_prefill(qkv, norms, rope, cache, metadata)
    queries = ops._heads(qkv, norms, rope, cache, metadata.positions)[0]
    torch.testing.assert_close(reference._attend_rows(queries, cache, metadata), together)
