"""Talker with code predictor as trainable modules.

Parameters are named as in a checkpoint's file. Letters in shapes: B sequences, L columns, K width, G code groups, M
frames of a whole batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.checkpoint.config import DecoderConfig, ModelConfig
from engine.checkpoint.dummy.configs import Json
from engine.model.layers import rope_tables
from engine.ops.base import Rope
from training.codec.model import RMSNorm, attend, swiglu
from training.sizes import model_config
from training.talker.columns import VECTOR

DROPOUT = 0.1


class SpeechModel(nn.Module):
    """A checkpoint's `model.safetensors`: everything under "talker."."""

    def __init__(self, config: Json) -> None:
        super().__init__()
        self.talker = Talker(config)

    def forward(
        self, text: Tensor, codes: Tensor, vector: Tensor, frames: Tensor, spoken: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits of codebook 0, then of the other codebooks.

        text (B, L) ids and codes (B, L, G), -1 where absent, as the engine's columns have them; vector (B, K), which
        stands in the columns whose codes are `VECTOR`; frames (M,) which of the B L columns predict a frame that is not
        the end; spoken (M, G) the codes of those.
        Returns logits of codebook 0 in every column (B, L, V), and of the others in `frames` (M, G - 1, vocabulary).
        """
        hidden = self.talker.hidden(text, codes, vector)
        first: Tensor = self.talker.codec_head(hidden)
        return first, self.talker.rest(hidden.flatten(0, 1)[frames], spoken)


class Talker(nn.Module):
    """Column embeddings, the large stack, the predictor within."""

    def __init__(self, config: Json) -> None:
        super().__init__()
        sizes, width = model_config(config), config["talker_config"]["text_hidden_size"]
        self.model = Stack(sizes.talker)
        self.model.text_embedding = nn.Embedding(config["talker_config"]["text_vocab_size"], width)
        self.model.codec_embedding = nn.Embedding(sizes.talker.vocab, sizes.talker.hidden)
        self.text_projection = nn.ModuleDict(
            {"linear_fc1": nn.Linear(width, width), "linear_fc2": nn.Linear(width, sizes.talker.hidden)}
        )
        self.codec_head = nn.Linear(sizes.talker.hidden, sizes.talker.vocab, bias=False)
        self.code_predictor = Predictor(sizes)

    def hidden(self, text: Tensor, codes: Tensor, vector: Tensor) -> Tensor:
        """States after the final norm, (B, L, K)."""
        tables = [self.model.codec_embedding, *self.code_predictor.tables]
        spoken = [_present(table, codes[..., group]) for group, table in enumerate(tables)]
        spoken.append((codes[..., :1] == VECTOR) * vector[:, None])
        x = self.model.text_embedding(text)
        x = self.text_projection["linear_fc2"](F.silu(self.text_projection["linear_fc1"](x)))
        out: Tensor = self.model(x + sum(spoken))
        return out

    def rest(self, hidden: Tensor, spoken: Tensor) -> Tensor:
        """Logits of groups 1 to G - 1.

        hidden (M, K), spoken (M, G) -> (M, G - 1, vocabulary), each group given those before it.
        """
        predictor = self.code_predictor
        before = [self.model.codec_embedding(spoken[:, 0])]
        before += [table(spoken[:, g + 1]) for g, table in enumerate(predictor.tables[:-1])]
        x = predictor.small_to_mtp_projection(torch.stack([hidden, *before], 1))
        x = predictor.model(x)[:, 1:]
        heads = torch.stack(predictor.heads)
        return torch.einsum("mgk,gvk->mgv", x, heads.to(x.dtype))


class Predictor(nn.Module):
    """The small stack, run over the groups of one frame."""

    def __init__(self, sizes: ModelConfig) -> None:
        super().__init__()
        small, later = sizes.predictor, range(sizes.code_groups - 1)
        self.model = Stack(small)
        self.model.codec_embedding = nn.ModuleList([nn.Embedding(small.vocab, sizes.talker.hidden) for _ in later])
        self.lm_head = nn.ModuleList([nn.Linear(small.hidden, small.vocab, bias=False) for _ in later])
        self.small_to_mtp_projection = nn.Linear(sizes.talker.hidden, small.hidden)

    @property
    def tables(self) -> list[nn.Module]:
        """Embeddings of all groups but the first."""
        return list(self.model.codec_embedding.children())

    @property
    def heads(self) -> list[Tensor]:
        """Weights of the output maps."""
        return list(self.lm_head.parameters())


class Stack(nn.Module):
    """Pre-norm causal decoder layers.

    (B, L, K) -> (B, L, K). Grouped-query attention, normed heads, SwiGLU. Queries and keys (B, L, heads, D) of the
    `watched` layers in the last run are in `compared`.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config, self.watched, self.compared = config, frozenset[int](), list[tuple[Tensor, Tensor]]()
        self.layers = nn.ModuleList([_Layer(config) for _ in range(config.layers)])
        self.norm = RMSNorm(config.hidden, config.eps)

    def forward(self, x: Tensor) -> Tensor:
        rope = rope_tables(self.config, x.shape[1], x)
        x = F.dropout(x, DROPOUT, self.training)
        self.compared = []
        for number, layer in enumerate(self.layers):
            x, query, key = layer(x, rope)
            if number in self.watched:
                self.compared.append((query, key))
        out: Tensor = self.norm(x)
        return out

    def fuse(self) -> None:
        """Compile the layers.

        Their many small operations take longer than their products.
        """
        torch.fx.experimental._config.use_duck_shape = False  # sizes that happen to be equal need not stay so
        for layer in self.layers:
            layer.compile(dynamic=True)


class _Layer(nn.Module):
    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = c.head_dim
        widths = {"q": c.heads * c.head_dim, "k": c.kv_heads * c.head_dim, "v": c.kv_heads * c.head_dim}
        self.self_attn = nn.ModuleDict(
            {f"{name}_proj": nn.Linear(c.hidden, width, bias=False) for name, width in widths.items()}
        )
        self.self_attn["o_proj"] = nn.Linear(widths["q"], c.hidden, bias=False)
        self.self_attn["q_norm"], self.self_attn["k_norm"] = (RMSNorm(c.head_dim, c.eps) for _ in "qk")
        self.mlp = swiglu(c.hidden, c.intermediate)
        self.input_layernorm, self.post_attention_layernorm = (RMSNorm(c.hidden, c.eps) for _ in "ab")

    def forward(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        mixed, query, key = self._attention(self.input_layernorm(x), rope)
        x = x + F.dropout(mixed, DROPOUT, self.training)
        y, mlp = self.post_attention_layernorm(x), self.mlp
        y = mlp["down_proj"](F.silu(mlp["gate_proj"](y)) * mlp["up_proj"](y))
        return x + F.dropout(y, DROPOUT, self.training), query, key

    def _attention(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        own = self.self_attn
        query, key, value = (own[f"{name}_proj"](x).unflatten(2, (-1, self.head_dim)) for name in "qkv")
        query, key = own["q_norm"](query), own["k_norm"](key)
        return own["o_proj"](attend(query, key, value, rope)), query, key


def _present(table: nn.Module, ids: Tensor) -> Tensor:
    """Rows of `ids`, zero where an id is -1."""
    rows: Tensor = table(ids.clamp(min=0))
    return rows * (ids >= 0)[..., None]
