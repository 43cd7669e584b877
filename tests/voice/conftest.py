"""A voice that knows nothing: the embedded voice's sizes with random weights, saved as training saves them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.prompt.tokenizer import TextTokenizer
from training.codec.train import Trainer as CodecTrainer
from training.export import export
from training.sizes import FRAME_SAMPLES, GROUPS, model_config, talker_config
from training.talker.columns import Batches, Utterance, build_sequences
from training.talker.subwords import train_subwords
from training.talker.train import Trainer as TalkerTrainer

TEXTS = ["The cat sat on the mat, and you know it.", "Hello there, my dear friend; what happens now?"]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with talker.pt, codec.pt and the checkpoint made of them."""
    folder = tmp_path_factory.mktemp("voice")
    torch.manual_seed(0)
    words = train_subwords(TEXTS)
    config = talker_config(words.config_ids, words.rows)
    tokenizer = TextTokenizer(words.entries, words.merges, "qwen2")
    said = [Utterance(text, 0, np.zeros((4, GROUPS), np.int16)) for text in TEXTS]
    sequences = build_sequences(model_config(config), tokenizer, said, 0.5, 0)
    talker = TalkerTrainer(config, torch.device("cpu"), 1e-3, Batches(sequences, 1_000, 0))
    for parameter in talker.kept.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0.0, 0.08)  # so that no two logits are nearly the same
    talker.save(folder / "talker.pt", words)
    codec = CodecTrainer(torch.device("cpu"), 1e-3)
    with torch.no_grad():
        codec.kept.train()(0.1 * torch.randn(2, 64 * FRAME_SAMPLES))  # gives the codebooks their first entries
    codec.save(folder / "codec.pt")
    export(folder / "talker.pt", folder / "codec.pt", folder / "checkpoint")
    return folder
