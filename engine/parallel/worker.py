"""Entry of a follower: `python -m engine.parallel.worker FD`.

It holds one shard of a talker, and takes part in each pass that rank 0 tells. It ends with the connection.
"""

import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import NoReturn

import torch

from engine.api.errors import CheckpointError
from engine.checkpoint.shard import Shard
from engine.checkpoint.tensors import Tensors
from engine.checkpoint.weights import load_shard
from engine.model.talker import TalkerLayers
from engine.ops.base import new_caches
from engine.ops.peers import Peers
from engine.ops.select import choose
from engine.parallel.meeting import meet
from engine.parallel.messages import Failed, Load, Loaded, Ready, Serve
from engine.runner.shard import EagerShard, GraphShard, ShardStage

log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Follow until rank 0 closes the connection."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the whole group: rank 0 closes the connection
        signal.signal(number, signal.SIG_IGN)
    connection, code = Connection(int(sys.argv[1])), 0
    try:
        _follow(connection)
    except (EOFError, ConnectionError):
        pass
    except Exception as error:
        code = 1
        _report(connection, error)
    os._exit(code)  # the device may hang in a pass that rank 0 has left


def _report(connection: Connection, error: Exception) -> None:
    log.critical("a follower has failed", exc_info=error)
    text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    checkpoint = isinstance(error, CheckpointError)
    try:
        connection.send(Failed(str(error) if checkpoint else text, checkpoint))
    except OSError:
        log.critical("rank 0 has gone")


@torch.inference_mode()
def _follow(connection: Connection) -> None:
    load: Load = connection.recv()
    device = torch.device(load.devices[load.rank])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    shard, weights = load_shard(load.model, device, load.dtype, load.rank, len(load.devices))
    connection.send(Loaded(_free(device)))
    serve: Serve = connection.recv()
    peers = meet(load.store, load.rank, device, load.devices, serve.most_rows, serve.words)
    passes = _passes(load, serve, shard, weights, peers)
    connection.send(Ready())
    while True:
        kind, rows = connection.recv()
        passes.run(kind, rows)


def _passes(load: Load, serve: Serve, shard: Shard, weights: Tensors, peers: Peers) -> EagerShard | GraphShard:
    """Layers of the shard, as graphs where rank 0 has."""
    norm = weights["talker.model.norm.weight"]
    ops = choose(load.config, shard.config, norm.device, load.dtype)
    caches = new_caches(shard.config, serve.blocks, serve.block_size, norm)
    layers = TalkerLayers(shard.config, weights, caches, serve.positions, ops, peers)
    table = torch.zeros(serve.slots, serve.slot_blocks, dtype=torch.int32, device=norm.device)
    stage = ShardStage(layers, table, serve.block_size, peers)
    if serve.rows is None:
        peers.open()
        return EagerShard(stage, norm.device, serve.columns)
    return GraphShard(stage, norm.device, serve.columns, serve.rows, peers)


def _free(device: torch.device) -> int:
    if device.type != "cuda":
        return sys.maxsize
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


if __name__ == "__main__":
    main()
