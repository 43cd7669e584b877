"""Sizes of codec decoders that the fused kernels take.

They take the published ones, not every small one.
"""

from collections.abc import Iterator

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import Tensors
from engine.ops.triton.codec.tiles import LEAST, largest_power_below

FUSED_CHANNELS = 192  # most channels of a residual unit that runs as one kernel
COLUMNS = 64  # of a transformer's product that one program makes at the most
MOST_WINDOW, MOST_HEAD = 128, 64  # positions and their width: more does not stay in attention's registers


def misfit(config: CodecDecoderConfig, weights: Tensors) -> str | None:
    """First size that the kernels do not take, or None.

    `weights`: the tensors under "decoder." of the speech tokenizer, without that prefix; KeyError if one is missing.
    """
    return next(_misfits(config, weights), None)


def _misfits(config: CodecDecoderConfig, weights: Tensors) -> Iterator[str]:
    embedding = weights["quantizer.rvq_first.output_proj.weight"].shape[0]
    hidden, latent = weights["pre_transformer.input_proj.weight"].shape
    inner = [weights[f"pre_transformer.layers.{i}.mlp.gate_proj.weight"].shape[0] for i in range(config.layers)]
    blocks = [weights[f"decoder.{i + 1}.block.1.conv.weight"].shape[:2] for i in range(len(config.upsample_rates))]
    # One program makes a whole row of these two.
    yield from (f"embeddings of {width}" for width in (embedding, latent) if not _is_power(width))
    yield from (f"a transformer {width} wide" for width in (latent, hidden, *inner) if width % COLUMNS)
    yield from _attention_misfits(config)
    yield from (f"residual units of {channels} channels" for _, channels in blocks if not _unit_fits(channels))
    yield from (f"blocks of {channels} channels" for channels, _ in blocks if channels % LEAST)


def _attention_misfits(config: CodecDecoderConfig) -> Iterator[str]:
    """Required: MHA (heads == kv_heads), a power-of-two head_dim.

    A head's halves are multiplied by themselves.
    """
    heads, head = config.heads, config.head_dim
    if not (_is_power(head) and 2 * LEAST <= head <= MOST_HEAD and heads * head % COLUMNS == 0):
        yield f"{heads} heads of {head}"
    if heads != config.kv_heads:
        yield f"{heads} query heads over {config.kv_heads}"
    if config.window > MOST_WINDOW:
        yield f"a window of {config.window} positions"


def _unit_fits(channels: int) -> bool:
    """Whether one kernel holds all channels of a unit.

    In two blocks of columns, each a power of two; wider units are two products.
    """
    if channels > FUSED_CHANNELS:
        return channels % LEAST == 0
    return channels > LEAST and _is_power(channels - largest_power_below(channels))


def _is_power(n: int) -> bool:
    return n >= LEAST and n & (n - 1) == 0
