"""Peers: the GPUs, or processes, that share the talker's layers.

Each holds a shard of every layer; a product whose inputs are dealt out has a part on each.
"""

from typing import Any, Protocol

from torch import Tensor


class Peers(Protocol):
    """Exchange between `ranks` processes, of which rank 0 leads.

    All of them make the same calls in the same order. Until `open` has been called nothing is exchanged, so that each
    may prepare its kernels by itself.
    """

    ranks: int

    def open(self) -> None:
        """Exchange from here on."""

    def broadcast(self, x: Tensor) -> None:
        """Overwrite x, contiguous, by that of rank 0."""

    def reduce(self, parts: Tensor, residual: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor | None]:
        """Sum of all ranks' parts of a product.

        parts (parts, R, N) fp32, with `residual` (R, N) -> (R, N), rounded once, and its RMS norm by `norm` (N,) where
        that costs less here than later.
        """


class GroupPeers:
    """`Peers` over a process group.

    Gloo on a CPU, NCCL on GPUs.
    """

    def __init__(self, group: Any) -> None:
        """Take a backend of `torch.distributed`.

        Its own types leave its operations out.
        """
        self.ranks = group.size()
        self._group, self._open = group, False

    def open(self) -> None:
        self._open = True

    def broadcast(self, x: Tensor) -> None:
        if self._open:
            self._group.broadcast([x]).wait()

    def reduce(self, parts: Tensor, residual: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor | None]:
        total = parts.sum(0)
        if self._open:
            self._group.allreduce([total]).wait()
        return total.add_(residual).to(residual.dtype), None
