"""The benchmarked checkpoint, with one configuration for all sections."""

from dataclasses import dataclass

from qwentts_grpc.cli.flags import KINDS


@dataclass(frozen=True, slots=True)
class Target:
    """The benchmarked model.

    `model`: a kind's name for random weights, or a checkpoint folder. `fronts` None leaves them to the server.
    """

    model: str
    device: str
    max_speeches: int
    max_queue: int
    fronts: int | None = None

    @property
    def dummy(self) -> bool:
        """Whether the weights are random."""
        return self.model in KINDS

    @property
    def name(self) -> str:
        """Name for tables."""
        return self.model.rstrip("/").rsplit("/", 1)[-1]

    @property
    def size(self) -> str:
        """ "0.6B" or "1.7B" by the checkpoint's name; else ""."""
        return next((size for size in ("0.6B", "1.7B") if size in self.name), "")

    @property
    def flags(self) -> list[str]:
        """Flags of `qwentts-grpc serve`."""
        source = ["--dummy-weights" if self.dummy else "--model", self.model]
        sizes = ["--max-speeches", str(self.max_speeches), "--max-queue", str(self.max_queue)]
        fronts = [] if self.fronts is None else ["--fronts", str(self.fronts)]
        return [*source, "--device", self.device, *sizes, *fronts]
