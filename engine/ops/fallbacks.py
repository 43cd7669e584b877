"""Operations that fall back to plain PyTorch.

A fused kernel may not take a checkpoint's sizes.
"""

import logging
from threading import Lock

logger = logging.getLogger(__name__)


class Fallbacks:
    """Choice between a fused kernel, the reference.

    Each operation and size is logged once. Thread-safe.
    """

    def __init__(self) -> None:
        self._logged, self._lock = set[tuple[str, str]](), Lock()

    def needed(self, operation: str, misfit: str | None) -> bool:
        """Whether the reference runs.

        `misfit`: the size that the kernel does not take, None where it takes all.
        """
        if misfit is None:
            return False
        with self._lock:
            new = (operation, misfit) not in self._logged
            self._logged.add((operation, misfit))
        if new:
            logger.info("%s runs in plain PyTorch: its fused kernel does not take %s", operation, misfit)
        return True
