"""Meeting of the ranks: how their devices exchange values."""

import logging
import os
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch.distributed.distributed_c10d import Store

from engine.ops.peers import GroupPeers, Peers
from engine.parallel.shared_memory import shared_memory

LIMIT = timedelta(seconds=600)  # for all ranks to come: some may load longer than others
EXCHANGE = timedelta(seconds=30)  # of one exchange between processes on a CPU

log = logging.getLogger(__name__)
_groups: list[Any] = []  # of NCCL, whose end would wait for that of all graphs it is in


def meet(path: str, rank: int, device: torch.device, devices: Sequence[str], rows: int, width: int) -> Peers:
    """Peers of this rank, when all have come.

    `path`: a file that all open; `rows` of `width` words of 4 bytes: the most of one exchange. Raises RuntimeError
    where one does not come.
    """
    distributed: Any = torch.distributed  # which does not say that it exports them
    store: Store = distributed.FileStore(path, len(devices))
    store.set_timeout(LIMIT)
    if device.type == "cpu":
        return GroupPeers(_gloo(store, rank, len(devices)))
    return _symmetric(store, rank, len(devices), device, rows, width) or GroupPeers(
        _nccl(store, rank, len(devices), device)
    )


def _symmetric(store: Store, rank: int, ranks: int, device: torch.device, rows: int, width: int) -> Peers | None:
    """Peers over each other's memory.

    None where one of them cannot reach it.
    """
    from engine.ops.triton.symmetric import SymmetricPeers  # Triton is there on GPU machines only

    share = partial(shared_memory, store, rank, ranks, device)
    peers, fault = None, ""
    try:
        peers = SymmetricPeers(rank, ranks, device, rows, width, share)
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:300]
    store.set(f"symmetric-{rank}", fault)
    faults = [store.get(f"symmetric-{each}").decode() for each in range(ranks)]
    if any(faults):
        log.warning("GPUs do not reach each other's memory, so values go through NCCL: %s", max(faults))
        return None
    return peers


def _gloo(store: Store, rank: int, ranks: int) -> Any:
    """Group over the loopback interface."""
    gloo: Any = torch.distributed.ProcessGroupGloo
    options = gloo._Options()
    options._devices, options._timeout = [gloo.create_device(hostname="127.0.0.1")], EXCHANGE
    return gloo(store, rank, ranks, options)


def _nccl(store: Store, rank: int, ranks: int, device: torch.device) -> Any:
    """Group that a capture finds ready."""
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")  # its multicast would be set up for nothing
    nccl: Any = torch.distributed.ProcessGroupNCCL
    group = nccl(store, rank, ranks, nccl.Options())
    group.allreduce([torch.zeros(1, device=device)]).wait()
    torch.cuda.synchronize(device)
    _groups.append(group)
    return group
