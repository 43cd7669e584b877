"""Guided attention: heads trained towards the text being said.

It is one head in each of two middle layers. Speech goes through its text at a nearly even pace, so the text that
belongs to a frame is predictable well enough from the start; without guidance, a small talker memorises sounds before
it uses the text. Tachibana et al. 2018, arXiv 1710.08969; here as the likelihood under a bell around the even pace,
whose pull does not fade where attention is far off.
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
    """Attention loss of heads 0 in two middle layers.

    It reads their queries and keys of the talker's last run.
    """

    def __init__(self, talker: Talker) -> None:
        self._stack, self._config = talker.model, talker.model.config
        middle = self._config.layers // 2
        self._stack.watched = frozenset((middle - 1, middle))

    def loss(self, batch: Batch) -> Tensor:
        """Distance of the heads from the text due, a scalar.

        Of the talker's last run, which was on `batch`.
        """
        pairs, self._stack.compared = self._stack.compared, []  # nothing outlives its step
        return torch.stack([off_pace(self._scores(*pair), batch) for pair in pairs]).mean()

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Raw scores of head 0, (B, L, L) in fp32.

        query, key (B, L, heads, D); the last dimension of the scores is the column attended to.
        """
        query, key = (part[:, :, :1].float() for part in (query, key))
        rope = rope_tables(self._config, query.shape[1], query)
        query, key = (rotate(part, rope, slice(None))[:, :, 0] for part in (query, key))
        return query * self._config.head_dim**-0.5 @ key.transpose(1, 2)


def off_pace(scores: Tensor, batch: Batch) -> Tensor:
    """Mean over frames of -log E[bell], scores (B, L, L).

    Scores are raw; those of text columns at or before a frame's own count.
    """
    width = (SLACK * (batch.told.amax(1) + 1)).clamp(min=LEAST_SLACK)
    away = (batch.told[:, None] - batch.due[..., None]) / width[:, None, None]
    past = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~(past & (batch.told >= 0)[:, None]), UNSEEN)
    missed = scores.logsumexp(-1) - (scores - away.square() / 2).logsumexp(-1)
    return (missed * batch.speaks).sum() / batch.speaks.sum()
