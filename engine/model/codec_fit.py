"""Whether the fused kernels take a codec decoder of these sizes: the published one's they do, not every small one's."""

from engine.model.codec_config import CodecDecoderConfig
from engine.model.tensors import Tensors
from engine.ops.codec_tiles import LEAST, largest_power_below

FUSED_CHANNELS = 192  # residual units of at most so many channels run as one kernel
COLUMNS = 64  # of a transformer's product that one program makes at the most
MOST_WINDOW, MOST_HEAD = 128, 64  # positions and their width: more does not stay in attention's registers


def fits(config: CodecDecoderConfig, weights: Tensors) -> bool:
    """`weights`: the tensors under "decoder." of the speech tokenizer, without that prefix; KeyError if short."""
    embedding = weights["quantizer.rvq_first.output_proj.weight"].shape[0]
    hidden, latent = weights["pre_transformer.input_proj.weight"].shape
    inner = [weights[f"pre_transformer.layers.{i}.mlp.gate_proj.weight"].shape[0] for i in range(config.layers)]
    blocks = [weights[f"decoder.{i + 1}.block.1.conv.weight"].shape[:2] for i in range(len(config.upsample_rates))]
    return (
        all(_is_power(width) for width in (embedding, latent))  # one program makes a whole row of them
        and all(width % COLUMNS == 0 for width in (latent, hidden, *inner))
        and _attention_fits(config)
        and all(_unit_fits(channels) for _, channels in blocks)
        and all(channels % LEAST == 0 for channels, _ in blocks)
    )


def _attention_fits(config: CodecDecoderConfig) -> bool:
    """Each key-value head serves one query head, whose halves are multiplied by themselves."""
    head = config.head_dim
    whole = _is_power(head) and 2 * LEAST <= head <= MOST_HEAD and config.heads * head % COLUMNS == 0
    return whole and config.heads == config.kv_heads and config.window <= MOST_WINDOW


def _unit_fits(channels: int) -> bool:
    """One kernel holds all channels in two blocks of columns, each a power of two; wider units are two products."""
    if channels > FUSED_CHANNELS:
        return channels % LEAST == 0
    return channels > LEAST and _is_power(channels - largest_power_below(channels))


def _is_power(n: int) -> bool:
    return n >= LEAST and n & (n - 1) == 0
