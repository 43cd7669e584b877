"""What is trained is what is served: the training modules against the engine, on one set of weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.api.config import EngineConfig
from engine.api.request import Delivery, Sampling, SamplingParams, SpeechRequest, TextMode
from engine.build import build_engine
from engine.checkpoint.codec_config import CodecDecoderConfig, CodecEncoderConfig
from engine.checkpoint.tensors import under
from engine.model.codec.decoder import CodecDecoder
from engine.model.codec.encoder import CodecEncoder
from engine.prompt.tokenizer import TextTokenizer
from tests.engine.speaking import speak
from tests.voice.conftest import TEXTS
from training.codec.export import codec_tensors
from training.codec.train import Trainer as CodecTrainer
from training.recorded import Recorded
from training.resumed import read_talker
from training.sizes import FRAME_SAMPLES, GROUPS, VOICES, model_config, talker_config, tokenizer_config
from training.speaker.train import Trainer as SpeakerTrainer
from training.speaker.train import listen
from training.talker import coded
from training.talker.coded import (
    SHIFTS,
    VECTORS,
    load_codec,
    load_speaker,
    read_coded,
    read_vectors,
    speaker_vectors,
    write_coded,
    write_vectors,
)
from training.talker.columns import LEAD, Batches, Utterance, build_sequences, paragraphs, rounded
from training.talker.model import SpeechModel
from training.talker.subwords import train_subwords
from training.talker.train import Trainer as TalkerTrainer

CPU = torch.device("cpu")
GREEDY = SamplingParams(temperature=0.0, top_k=0, top_p=1.0)


def test_the_codec_is_the_engines(untrained: Path) -> None:
    codec, config = load_codec(untrained / "codec.pt", CPU), tokenizer_config()
    tensors = codec_tensors(codec)
    wave = 0.1 * torch.randn(1, 20 * FRAME_SAMPLES)
    with torch.inference_mode():
        made, quantized = codec(wave)
        codes = CodecEncoder(CodecEncoderConfig.from_json(config), under(tensors, "encoder")).encode(wave[0])
        decoder = CodecDecoder(CodecDecoderConfig.from_json(config["decoder_config"]), under(tensors, "decoder"))
        state, row = decoder.new_state(1, CPU, torch.float32), torch.tensor([0])
        pieces = [decoder.forward(quantized.codes[:, a:b], state, row) for a, b in ((0, 1), (1, 6), (6, 20))]
    assert torch.equal(codes, quantized.codes[0])
    torch.testing.assert_close(torch.cat(pieces, 1), made, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", TextMode)
async def test_the_talker_is_the_engines(untrained: Path, mode: TextMode) -> None:
    async with await build_engine(str(untrained / "checkpoint"), EngineConfig(device="cpu")) as engine:
        request = SpeechRequest(
            request_id="one",
            voice=VOICES[1],
            language="english",
            sampling=Sampling(GREEDY, GREEDY, 1.0, max_frames=12),
            delivery=Delivery(text_mode=mode),
        )
        heard = await speak(engine, request, TEXTS[0])
    silent = np.zeros((LEAD if mode is TextMode.WHOLE else 0, GROUPS), np.int16)  # training leaves it out
    said = np.concatenate((silent, heard.codes.astype(np.int16)))
    expected = _argmax(untrained, Utterance(TEXTS[0], 1, said), mode)
    np.testing.assert_array_equal(heard.codes, expected)


def _argmax(untrained: Path, said: Utterance, mode: TextMode) -> torch.Tensor:
    """What the training model would say in each frame, told what was said before it."""
    state, words = read_talker(untrained / "talker.pt")
    config = talker_config(words.config_ids, words.rows)
    model = SpeechModel(config).eval()
    model.load_state_dict(state)
    sizes, tokenizer = (
        model_config(config),
        TextTokenizer(words.entries, words.merges, "qwen2"),
    )
    both = Batches(build_sequences(sizes, tokenizer, [said], 1.0, 0), 1, sizes.codec.eos)
    batch = both.batch(rounded(len(both._all.text)), torch.tensor([mode is TextMode.WHOLE]).long())
    frames, spoken = batch.frames()
    with torch.inference_mode():
        first, rest = model(batch.text, batch.codes, batch.vector, frames, spoken)
    first = first.flatten(0, 1)[frames, : sizes.predictor.vocab].argmax(-1)
    return torch.cat((first[:, None], rest.argmax(-1)), 1)


def test_codes_survive_their_files(tmp_path: Path) -> None:
    said = [Utterance("One.", 0, _noise(3)), Utterance("Two, and no more.", 1, _noise(5))]
    write_coded(tmp_path, said)
    for one, other in zip(said, read_coded(tmp_path), strict=True):
        assert (one.text, one.speaker) == (other.text, other.speaker)
        np.testing.assert_array_equal(one.codes, other.codes)


def test_each_speaker_has_vectors_of_own_recordings(tmp_path: Path) -> None:
    wave = (3_000 * torch.randn(60 * FRAME_SAMPLES)).short()
    speech = Recorded(wave, torch.zeros(240).byte(), torch.tensor([0, 25, 60]), ["a", "b"], [2, 5])
    trainer = SpeakerTrainer(listen(speech, 2, CPU), 1e-3)
    trainer.step(2, 0.5)
    torch.save(trainer.tensors(), tmp_path / "speaker.pt")
    vectors = speaker_vectors(speech, load_speaker(tmp_path / "speaker.pt", CPU))
    write_vectors(tmp_path, vectors)
    assert vectors.abs().amax((1, 2)).nonzero().flatten().tolist() == [2, 5]
    assert vectors.shape[1] == VECTORS and vectors[2].std(0).min() > 0
    assert (stored := read_vectors(tmp_path)) is not None and torch.allclose(stored, vectors, atol=1e-2)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_recording_is_encoded_in_pieces_as_whole(
    shift: int, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load_codec(untrained / "codec.pt", CPU)
    wave = (3_000 * torch.randn(60 * FRAME_SAMPLES)).short()
    speech = Recorded(wave, torch.zeros(240).byte(), torch.tensor([0, 25, 60]), ["a", "b"], [0, 1])
    with torch.inference_mode():
        moved = torch.cat((wave[shift:], wave.new_zeros(shift))).float() / 32768
        whole = codec.quantizer(codec.encoder(moved[None])).codes[0]
    monkeypatch.setattr(coded, "AT_ONCE", 16)
    pieces = coded.encode(speech, codec, shift)
    assert [len(piece.codes) for piece in pieces] == [25, 35]
    np.testing.assert_array_equal(np.concatenate([piece.codes for piece in pieces]), whole)


def test_paragraphs_join_one_speakers_sentences() -> None:
    said = [Utterance(f"Sentence {i}.", i % 2, _noise(2 + i)) for i in range(6)]
    for joined in paragraphs(said, 20, 60, seed=1):
        parts = [next(u for u in said if u.text == text + ".") for text in joined.text.removesuffix(".").split(". ")]
        assert {u.speaker for u in parts} == {joined.speaker}
        np.testing.assert_array_equal(np.concatenate([u.codes for u in parts]), joined.codes)


def test_a_talker_learns() -> None:
    words = train_subwords(TEXTS)
    config = talker_config(words.config_ids, words.rows)
    sizes, tokenizer = (
        model_config(config),
        TextTokenizer(words.entries, words.merges, "qwen2"),
    )
    said = [Utterance(text, i, _noise(8)) for i, text in enumerate(TEXTS)]
    batches = Batches(build_sequences(sizes, tokenizer, said, 0.5, 0), 100, sizes.codec.eos)
    torch.manual_seed(0)
    trainer = TalkerTrainer(config, CPU, 3e-3, batches)
    losses = [[float(loss) for loss in trainer.step(next(batches.round(i)), 0.0)] for i in range(40)]
    assert losses[-1][0] < 0.6 * losses[0][0] and losses[-1][1] < 0.95 * losses[0][1]


def test_text_is_heard_among_codes_from_the_start() -> None:
    words = train_subwords(TEXTS)
    config = talker_config(words.config_ids, words.rows)
    torch.manual_seed(0)
    sizes, tokenizer = (
        model_config(config),
        TextTokenizer(words.entries, words.merges, "qwen2"),
    )
    sequences = build_sequences(sizes, tokenizer, [Utterance("Hi.", 0, _noise(4))], 0.5, 0)
    talker = TalkerTrainer(config, CPU, 1e-3, Batches(sequences, 100, 0)).model.talker
    text, first, second = (
        talker.get_parameter("model.text_embedding.weight"),
        talker.get_submodule("text_projection.linear_fc1"),
        talker.get_submodule("text_projection.linear_fc2"),
    )
    told = second(torch.nn.functional.silu(first(text)))
    said = GROUPS**0.5 * talker.get_parameter("model.codec_embedding.weight").std()
    assert 2 < told.std() / said < 20


def test_a_codec_learns() -> None:
    torch.manual_seed(0)
    trainer, speech = CodecTrainer(CPU, 1e-3), _whistle()
    free, quantized, judged = (
        [trainer.step(*speech.crops(2, 4), done) for _ in range(steps)]
        for done, steps in ((0.05, 12), (0.3, 8), (0.7, 3))
    )
    assert free[-1]["mel"] < 0.8 * free[0]["mel"] and free[-1]["phones"] < 0.5 * free[0]["phones"]
    assert not any(losses["commitment"] for losses in free)
    assert all(losses["commitment"] > 0 for losses in quantized + judged)
    assert quantized[-1]["mel"] < free[0]["mel"] and quantized[-1]["phones"] < 0.5 * free[0]["phones"]
    assert all(losses.keys() == {"mel", "commitment", "phones"} for losses in free + quantized)
    assert all(losses.keys() >= {"judged", "deception", "likeness"} for losses in judged)
    assert all(torch.isfinite(loss) for losses in free + quantized + judged for loss in losses.values())
    assert all(
        torch.equal(one, other) for one, other in zip(trainer.kept.buffers(), trainer.codec.buffers(), strict=True)
    )


def test_a_decoder_learns_alone(untrained: Path) -> None:
    trainer, speech = CodecTrainer(CPU, 1e-3), _whistle()
    trainer.load(untrained / "codec.pt")
    trainer.keep_codes()
    wave = speech.crops(1, 8)[0]
    before, after = load_codec(untrained / "codec.pt", CPU), trainer.kept.eval()
    losses = [trainer.step(*speech.crops(2, 4), 0.5) for _ in range(2)]
    assert all("judged" in step for step in losses)
    with torch.inference_mode():
        (old, old_codes), (new, new_codes) = before(wave), after(wave)
    assert torch.equal(old_codes.codes, new_codes.codes)
    assert not torch.equal(old, new)


def _whistle() -> Recorded:
    time = torch.arange(64 * FRAME_SAMPLES) / 24_000
    wave = 0.3 * torch.sin(2 * torch.pi * (200 + 100 * torch.sin(3 * time)) * time)
    return Recorded((wave * 32767).short(), torch.full((256,), 7).byte(), torch.tensor([0, 64]), ["a"], [0])


def _noise(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(0, 512, (frames, GROUPS)).astype(np.int16)
