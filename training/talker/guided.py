"""Guided attention: in training, one head in each of two middle layers is drawn to the text that is being said.

Speech goes through its text at a nearly even pace, so where a frame has to read is known well enough before anything
is learnt; without being told, a small talker memorises sounds before it finds out that the text foretells them.
Tachibana et al. 2018, arXiv 1710.08969; here as the likelihood under a bell around the even pace, whose pull does not
fade where attention is far off.
"""

import torch
from torch import Tensor

from engine.model.layers import rope_tables
from engine.ops.reference import rotate
from training.talker.columns import Batch
from training.talker.model import Talker

SLACK, LEAST_SLACK = 0.1, 2.0  # one standard deviation of the bell: a share of the text's tokens, and tokens
UNSEEN = -1e4  # a score that weighs nothing, and is finite where all of a row have it


class Guide:
    """Looks at what heads 0 of two layers compare while a talker runs."""

    def __init__(self, talker: Talker) -> None:
        self._stack, self._config = talker.model, talker.model.config
        middle = self._config.layers // 2
        self._stack.watched = frozenset((middle - 1, middle))

    def loss(self, batch: Batch) -> Tensor:
        """How far the heads were from the text being said, in the talker's last run, which was on `batch`: a scalar."""
        pairs, self._stack.compared = self._stack.compared, []  # nothing outlives its step
        return torch.stack([off_pace(self._scores(*pair), batch) for pair in pairs]).mean()

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        """What head 0 gives each column (its last dimension) in each, of (B, L, heads, D): (B, L, L), in fp32."""
        query, key = (part[:, :, :1].float() for part in (query, key))
        rope = rope_tables(self._config, query.shape[1], query)
        query, key = (rotate(part, rope, slice(None))[:, :, 0] for part in (query, key))
        return query * self._config.head_dim**-0.5 @ key.transpose(1, 2)


def off_pace(scores: Tensor, batch: Batch) -> Tensor:
    """Mean over frames of -log E[bell] for raw scores (B, L, L); of columns with text to say, those at or before it."""
    width = (SLACK * (batch.told.amax(1) + 1)).clamp(min=LEAST_SLACK)
    away = (batch.told[:, None] - batch.due[..., None]) / width[:, None, None]
    past = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~(past & (batch.told >= 0)[:, None]), UNSEEN)
    missed = scores.logsumexp(-1) - (scores - away.square() / 2).logsumexp(-1)
    return (missed * batch.speaks).sum() / batch.speaks.sum()
