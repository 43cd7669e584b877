"""Engine settings: one frozen value, fixed before the start."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_type_hints

Device = str  # "auto", "cpu", "cuda" or "cuda:N"; as many with commas between as share a talker
DType = Literal["auto", "float32", "bfloat16"]
Split = Literal["qwen2", "mistral"]
Attention = Literal["auto", "flash-attn", "triton"]


@dataclass(frozen=True, slots=True)
class Flag:
    """Command line flag of a setting; bounds of an integer."""

    help: str
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Capacity, limits, backends.

    Times in seconds, sizes in the unit of their name.
    `max_speeches` is both the number of slots and the largest frame batch. `kv_blocks` None sizes the pool so that
    every slot can hold a speech of typical length on a CPU, or to a share of the memory of a GPU; `block_size` None
    is what suits the attention. `attention` on a GPU: "auto" is flash-attn where it is installed, else Triton.
    `max_prefill_tokens` of a step, shared by all prompts: None is as many as hold no frame up on the device.
    `segment_characters`: a longer text is cut at the next sentence end, 0 never cuts; `max_audio_seconds` has room for
    `max_text_characters` of any script. `guard_seconds` of silence or repetition end a speech that
    is not greedy, 0 never do. `max_unread_seconds` of one speech, and `max_unread_bytes` of all, may wait for their
    callers, whatever their lead.
    `tokenizer_split` chooses the pattern that cuts text into words before BPE: "qwen2" is the checkpoint's own,
    "mistral" is what transformers 4.57.3 puts in its place for a local folder with the full vocabulary.
    """

    device: Annotated[
        Device, Flag("auto, cpu, cuda:N, several with commas between, or all GPUs (default %(default)s)")
    ] = "auto"
    tensor_parallel: Annotated[
        int, Flag("devices that share a talker: one engine for each N of --device (default %(default)s)", 1, 64)
    ] = 1
    dtype: Annotated[DType, Flag("of the talker's weights (default: bfloat16 on a GPU, float32 on a CPU)")] = "auto"
    max_speeches: Annotated[int, Flag("spoken at once (default %(default)s)", 1, 1_024)] = 16
    max_queue: Annotated[int, Flag("waiting for a slot (default %(default)s)", 0, 100_000)] = 64
    queue_timeout: float = 10.0
    block_size: int | None = None
    kv_blocks: int | None = None
    max_prefill_tokens: int | None = None
    max_text_characters: int = 60_000
    segment_characters: int = 1_000
    max_audio_seconds: float = 21_600.0
    guard_seconds: float = 10.0
    slow_consumer_timeout: float = 20.0
    max_unread_seconds: float = 60.0
    max_unread_bytes: int = 2**26
    step_timeout: float = 30.0
    tokenizer_split: Annotated[Split, Flag("how text is cut before BPE")] = "qwen2"
    dummy_weights: bool = False
    cuda_graphs: Annotated[bool, Flag("without them kernels are launched one by one, which is slow")] = True
    reference_ops: Annotated[bool, Flag("plain PyTorch in place of kernels (slow; for debugging)")] = False
    attention: Annotated[Attention, Flag("on a GPU: flash-attn if installed")] = "auto"


FLAGS = {  # of the command line: the type and the flag of each setting that has one
    name: (hint.__origin__, flag)
    for name, hint in get_type_hints(EngineConfig, include_extras=True).items()
    for flag in getattr(hint, "__metadata__", ())
}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Capabilities of the loaded checkpoint.

    `description`: one line for logs and server info. `device`: "cpu", "cuda" or "cuda:N".
    `frame_samples`: of one codec frame, at `sample_rate` Hz.
    """

    name: str
    kind: Literal["custom_voice", "voice_design", "base"]
    languages: tuple[str, ...]
    voices: tuple[str, ...]
    instructions: bool
    description: str
    frame_samples: int
    sample_rate: int
    device: str = "cpu"

    @property
    def frame_seconds(self) -> float:
        """Audio of one codec frame."""
        return self.frame_samples / self.sample_rate
