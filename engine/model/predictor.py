"""Code predictor: the other fifteen codes of a frame.

From the talker's hidden state and codebook 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.checkpoint.config import ModelConfig
from engine.checkpoint.tensors import Tensors
from engine.model.layers import DecoderStack, rope_tables
from engine.ops.base import HeadNorms, LayerCache, Ops, SamplingTensors

# step 0..14 -> sampling parameters of codebook step + 1
SamplingTensorsAt = Callable[[int], SamplingTensors]


class Predictor:
    """Small decoder, run from scratch every frame.

    Position 0 is the talker's hidden state, position g codebook g-1.
    Embeddings have the talker's width and pass through one projection; since they are looked up and never mixed, the
    projected tables are made once.
    """

    def __init__(self, config: ModelConfig, weights: Tensors, cache: list[LayerCache], ops: Ops) -> None:
        name = "talker.code_predictor"
        self.steps = config.code_groups - 1
        self.stack = DecoderStack(config.predictor, weights, f"{name}.model", ops)
        self.heads = [weights[f"{name}.lm_head.{g}.weight"] for g in range(self.steps)]
        self._projection = _projection(weights, f"{name}.small_to_mtp_projection")
        first = self._project(weights["talker.model.codec_embedding.weight"][: config.predictor.vocab])
        later = [self._project(weights[f"{name}.model.codec_embedding.{g}.weight"]) for g in range(self.steps - 1)]
        self.tables = [first, *later]
        self.rope = rope_tables(config.predictor, config.code_groups, self.heads[0])
        self.cache = cache
        self._ops = ops

    def forward(self, hidden: Tensor, first: Tensor, params_at: SamplingTensorsAt) -> tuple[Tensor, list[Tensor]]:
        """Codes of a frame, with each step's logits.

        Codes (R, code groups) int64, logits (R, V).
        hidden (R, K of the talker), first = codebook 0 (R,).
        """
        codes, every = [first], list[Tensor]()
        cache = [LayerCache(layer.keys[: len(first)], layer.values[: len(first)]) for layer in self.cache]
        x = torch.stack((self._project(hidden), F.embedding(first, self.tables[0])), 1)
        for step in range(self.steps):
            last, normed = self._run(x, step + 2 - x.shape[1], cache)
            logits = self._ops.norm_linear(last, self.stack.norm, self.heads[step], self.stack.eps, normed)
            every.append(logits)
            if step == self.steps - 1:
                codes.append(self._ops.sample(logits, params_at(step)))
            else:
                code, rows = self._ops.sample_embed(logits, params_at(step), self.tables[step + 1])
                codes.append(code)
                x = rows[:, None]
        return torch.stack(codes, 1), every

    def _run(self, x: Tensor, start: int, cache: list[LayerCache]) -> tuple[Tensor, Tensor | None]:
        """State of the last position, before the final norm.

        And after it where that is there.
        x (R, T, K) at positions start... -> (R, K).
        """
        rows, steps, width = x.shape

        def attend(layer: int, qkv: Tensor, norms: HeadNorms) -> Tensor:
            out = self._ops.dense_attention(qkv.view(rows, steps, -1), norms, self.rope, cache[layer], start)
            return out.view(rows * steps, -1)

        x, normed = self.stack.run_layers(x.reshape(rows * steps, width), attend)
        last = x.view(rows, steps, width)[:, -1]
        return last, None if normed is None else normed.view(rows, steps, width)[:, -1]

    def _project(self, x: Tensor) -> Tensor:
        return x if self._projection is None else F.linear(x, *self._projection)


def _projection(weights: Tensors, name: str) -> tuple[Tensor, Tensor] | None:
    """Weight, bias of a projection; None where absent.

    The 0.6B models store no such tensors, since talker and predictor have one width.
    """
    if f"{name}.weight" not in weights:
        return None
    return weights[f"{name}.weight"], weights[f"{name}.bias"]
