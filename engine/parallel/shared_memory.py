"""Memory of a GPU for other processes' GPUs."""

import ctypes
import re
from pathlib import Path
from typing import Any

import torch
from torch.distributed.distributed_c10d import Store

HANDLE = 64  # bytes
PEER_ACCESS = 1  # cudaIpcMemLazyEnablePeerAccess


class _Handle(ctypes.Structure):
    """A cudaIpcMemHandle_t, passed by value."""

    _fields_ = (("data", ctypes.c_char * HANDLE),)


def shared_memory(store: Store, rank: int, ranks: int, device: torch.device, size: int) -> list[int]:
    """Addresses of `size` zeroed bytes of each rank.

    As `device` has them, aligned to 256 bytes. All ranks call it, each in a process of its own. Raises RuntimeError
    where one GPU cannot reach another's memory.
    """
    with torch.cuda.device(device):
        torch.cuda.current_stream(device).synchronize()  # the device is in use by now
        runtime = _Runtime()
        try:
            own, handle = runtime.allocate(size)
            store.set(f"memory-{rank}", handle.hex())
        except RuntimeError:
            store.set(f"memory-{rank}", "")
            raise
        return [own if each == rank else runtime.open(_handle(store, each)) for each in range(ranks)]


def _handle(store: Store, rank: int) -> bytes:
    """Another rank's handle, awaited; raises RuntimeError where it has none."""
    text = store.get(f"memory-{rank}").decode()
    if not text:
        raise RuntimeError(f"rank {rank} shares no memory")
    return bytes.fromhex(text)


class _Runtime:
    """The CUDA runtime that PyTorch has loaded."""

    def __init__(self) -> None:
        found = re.search(r"/\S*libcudart\S*\.so\S*", Path("/proc/self/maps").read_text())
        if found is None:
            raise RuntimeError("the CUDA runtime is no library of its own")
        self._library = ctypes.CDLL(found[0])
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def allocate(self, size: int) -> tuple[int, bytes]:
        """Address, handle of new memory."""
        address, handle = ctypes.c_void_p(), _Handle()
        self._call("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size))
        self._call("cudaMemset", address, ctypes.c_int(0), ctypes.c_size_t(size))
        self._call("cudaDeviceSynchronize")
        self._call("cudaIpcGetMemHandle", ctypes.byref(handle), address)
        return address.value or 0, bytes(handle)

    def open(self, handle: bytes) -> int:
        """Address, for the current device, of another process's memory."""
        address = ctypes.c_void_p()
        memory = _Handle.from_buffer_copy(handle)
        self._call("cudaIpcOpenMemHandle", ctypes.byref(address), memory, ctypes.c_uint(PEER_ACCESS))
        return address.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            self._library.cudaGetLastError()  # PyTorch would find it again
            raise RuntimeError(f"{name}: {self._library.cudaGetErrorString(code).decode()}")
