"""Tensors of a speech tokenizer's file, from a trained codec."""

import torch
from torch import Tensor

from training.codec.model import Codec
from training.codec.quantizer import Codebook, SplitQuantizer

PARTS = (("semantic", "first"), ("acoustic", "rest"))  # as the encoder and the decoder call them


def codec_tensors(codec: Codec) -> dict[str, Tensor]:
    """All tensors of speech_tokenizer/model.safetensors, fp32, on the CPU."""
    tensors = {f"encoder.{name}": tensor for name, tensor in codec.encoder.state_dict().items()}
    tensors |= {f"decoder.{name}": tensor for name, tensor in codec.decoder.state_dict().items()}
    tensors |= _quantizer(codec.quantizer)
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def _quantizer(quantizer: SplitQuantizer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for encoder, decoder in PARTS:
        part = getattr(quantizer, encoder)
        front, back = f"encoder.quantizer.{encoder}_residual_vector_quantizer", f"decoder.quantizer.rvq_{decoder}"
        into, out = part.input_proj.weight, part.output_proj.weight
        tensors |= {
            f"{front}.input_proj.weight": into[..., None],
            f"{front}.output_proj.weight": torch.zeros(len(into.T), len(into), 1),  # stored, and never read
            f"{back}.input_proj.weight": torch.zeros(out.shape[1], len(out), 1),  # likewise
            f"{back}.output_proj.weight": out[..., None],
        }
        for level, book in enumerate(part.books):
            tensors |= _book(book, f"{front}.layers.{level}.codebook.", f"{back}.vq.layers.{level}._codebook.")
    return tensors


def _book(book: Codebook, front: str, back: str) -> dict[str, Tensor]:
    return {
        f"{front}initialized": torch.ones(1),
        f"{front}cluster_usage": book.usage,
        f"{front}embed_sum": book.sums,
        f"{back}cluster_usage": book.usage.clone(),
        f"{back}embedding_sum": book.sums.clone(),
    }
