"""The plain codec decoder on a GPU, where small voices use it: captured in graphs, it decodes as on a CPU."""

import pytest
import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.dummy.weights import codec_weights
from engine.checkpoint.tensors import under
from engine.model.codec.decoder import CodecDecoder
from engine.runner.codec import CodecStage
from engine.runner.cuda_graphs import Graphs, build
from training.sizes import CODEBOOK, GROUPS, tokenizer_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SLOTS, FRAMES = 4, 4
LEAST = 60.0  # dB


def stage_on(device: torch.device) -> CodecStage:
    """Of the embedded voice's sizes; the same random weights everywhere."""
    json = tokenizer_config()
    weights = under(codec_weights(json, seed=0, device=torch.device("cpu")), "decoder")
    config = CodecDecoderConfig.from_json(json["decoder_config"])
    decoder = CodecDecoder(config, {name: tensor.to(device) for name, tensor in weights.items()})
    return CodecStage(decoder, SLOTS, device)


@torch.inference_mode()
def test_captured_calls_decode_what_a_cpu_does() -> None:
    device, generator = torch.device("cuda"), torch.Generator().manual_seed(0)
    stage, plain = stage_on(device), stage_on(torch.device("cpu"))

    def decode(table: Tensor) -> Tensor:
        return stage.forward(table[:, 0].contiguous(), table[:, 1:].unflatten(1, (FRAMES, GROUPS)))

    padding = torch.zeros((SLOTS, 1 + FRAMES * GROUPS), dtype=torch.int64)
    padding[:, 0] = SLOTS
    graphs = Graphs(decode, padding.to(device), (2, SLOTS), torch.cuda.graph_pool_handle())
    build([graphs])
    for slots in ([0, 2], [1, 2, 0], [2]):
        codes = torch.randint(0, CODEBOOK, (len(slots), FRAMES, GROUPS), generator=generator)
        rows = torch.cat((torch.tensor(slots)[:, None], codes.flatten(1)), 1)
        graphs.table.copy_(torch.cat((rows, padding[len(slots) :])))
        heard = graphs.replay(len(slots))[: len(slots)].double().cpu()
        wanted = plain.decode(slots, codes).double()
        assert 10 * torch.log10(wanted.square().sum() / (heard - wanted).square().sum()) > LEAST
