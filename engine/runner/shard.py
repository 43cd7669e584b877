"""Part of a step that a later rank has."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from engine.model.talker import TalkerLayers
from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.peers import Peers
from engine.runner.cuda_graphs import Graphs, build
from engine.runner.inputs import Inputs
from engine.runner.passes import FRAME
from engine.runner.slot_state import map_blocks


class ShardStage:
    """Layers of one peer as a function of a table.

    Its contents come from rank 0. `block_table` (slots + 1, blocks of a slot) int32.
    """

    def __init__(self, layers: TalkerLayers, block_table: Tensor, block_size: int, peers: Peers) -> None:
        self._layers, self._peers = layers, peers
        self._block_table, self._block_size = block_table, block_size

    def forward(self, table: Tensor, kind: int) -> None:
        """Take part in one pass.

        table (R, FIELDS + code groups) int64.
        """
        self._peers.broadcast(table)
        inputs = Inputs.of(table)
        map_blocks(self._block_table, self._block_size, inputs.slots, inputs.positions, inputs.blocks)
        norm = self._layers.stack.norm
        x = norm.new_zeros(len(table), len(norm))
        metadata = AttentionMetadata(self._block_table, inputs.slots, inputs.positions)
        self._layers.forward(x, metadata, several=kind != FRAME)


class EagerShard:
    """Passes of a peer without graphs."""

    def __init__(self, stage: ShardStage, device: torch.device, width: int) -> None:
        """`width`: columns of the table."""
        self._stage, self._device, self._width = stage, device, width

    @torch.inference_mode()
    def run(self, kind: int, rows: int) -> None:
        """Take part in a pass of `rows` rows."""
        self._stage.forward(torch.zeros(rows, self._width, dtype=torch.int64, device=self._device), kind)


class GraphShard:
    """Passes of a peer as CUDA graphs.

    Of the sizes of rank 0's.
    """

    @torch.inference_mode()
    def __init__(
        self, stage: ShardStage, device: torch.device, width: int, sizes: Mapping[int, Sequence[int]], peers: Peers
    ) -> None:
        """Prepare all, capture all.

        `sizes` of the graphs by the pass; `width`: columns of the table.
        """
        pool = torch.cuda.graph_pool_handle()
        self._graphs = {
            kind: Graphs(
                partial(stage.forward, kind=kind),
                torch.zeros(of_kind[-1], width, dtype=torch.int64, device=device),
                of_kind,
                pool,
            )
            for kind, of_kind in sizes.items()
        }
        build(list(self._graphs.values()), peers.open)
        self._stream = torch.cuda.Stream(device)

    def run(self, kind: int, rows: int) -> None:
        """Take part in a pass.

        `rows` is a size of its graphs.
        """
        with torch.cuda.stream(self._stream):
            self._graphs[kind].replay(rows)
