"""Engine settings: one frozen value, fixed before the start."""

from dataclasses import dataclass
from typing import Literal

Device = str  # "auto", "cpu", "cuda" or "cuda:N"
DType = Literal["auto", "float32", "bfloat16"]
Split = Literal["qwen2", "mistral"]
Attention = Literal["auto", "flash-attn", "triton"]


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
    callers, whatever lead they ask for.
    `tokenizer_split` chooses the pattern that cuts text into words before BPE: "qwen2" is the checkpoint's own,
    "mistral" is what transformers 4.57.3 puts in its place for a local folder with the full vocabulary.
    """

    device: Device = "auto"
    dtype: DType = "auto"
    max_speeches: int = 16
    max_queue: int = 64
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
    tokenizer_split: Split = "qwen2"
    dummy_weights: bool = False
    cuda_graphs: bool = True
    reference_ops: bool = False
    attention: Attention = "auto"


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
