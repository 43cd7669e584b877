"""The order of a check.

The engine speaks as it is served, then gives its memory back; the plain path runs the same speeches, then the device's
operations do, and the codec's decoders their codes.
"""

import gc
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError, EngineFailed
from engine.api.request import Reference
from engine.api.voice import Voice
from engine.build import Parts, load_parts, start_engine
from engine.check import cloning, codec, hearing, language, package, report, speeches, speed
from engine.check.figures import Figure, failed, skipped
from engine.check.report import Report
from engine.check.speeches import Spoken
from engine.check.stages import Script, Stages
from engine.checkpoint import hub
from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import under
from engine.checkpoint.weights import Checkpoint, dummy_checkpoint, load_checkpoint
from engine.engine import Engine
from engine.model.codec.decoder import CodecDecoder
from engine.ops.reference import ReferenceOps

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What is checked, how much of it.

    `config`: device, dtype, weights, speeches at once. `frames`: of each voice that are compared, `voices`: as many;
    `longest`: frames of a sample. `recogniser` as in `hearing.recogniser`.
    """

    model: str
    config: EngineConfig = field(default_factory=EngineConfig)
    frames: int = 16
    voices: int = 4
    longest: int = 125
    speed_frames: int = 38
    recogniser: str = ""


async def check(options: Options) -> Report:
    """Report of a checkpoint on this machine.

    Raises `CheckpointError` where it cannot be loaded.
    """
    began, about = time.monotonic(), {"model": options.model}
    served = await _serve(options)
    figures = list(served.figures)
    figures += _until_broken(_compare(options, served))
    voices, heard = _voices(options, served)
    about |= _about(served.parts)
    return Report(about, [*figures, *heard], voices, time.monotonic() - began)


@dataclass(slots=True)
class _Served:
    """Outcome of the engine as it is served."""

    parts: Parts
    reference: Reference | None = None  # for clones
    spoken: Sequence[Spoken] = ()
    figures: list[Figure] = field(default_factory=list)


async def _serve(options: Options) -> _Served:
    """Speak with every voice, measure, end the engine."""
    served = _Served(await _load(options))
    try:
        async with await start_engine(served.parts) as engine:
            await _speak(engine, options, served)
    except EngineFailed as error:
        served.figures.append(failed(speeches.SECTION, "first speech", str(error)))
    del served.parts.runner
    return served


async def _load(options: Options) -> Parts:
    try:
        return await load_parts(options.model, options.config)
    except (RuntimeError, TypeError, ValueError) as error:  # shapes that do not fit, or memory that is too small
        raise CheckpointError(f"{options.model} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


async def _speak(engine: Engine, options: Options, served: _Served) -> None:
    served.reference = await speeches.recording() if engine.card.kind == "base" else None
    requests = await speeches.requests(engine, served.reference, options.longest)
    log.info("speaking with %d voices", len(requests))
    spoken, codes = await speeches.speak_all(engine, requests, options.config.max_speeches), _codes(served.parts)
    served.spoken = [speeches.inside(each, codes) for each in spoken]
    served.figures += [*speeches.figures(served.spoken), speeches.outside(spoken, codes)]
    log.info("measuring the speed")
    first = next(iter(requests.values()))
    measured = await speed.measure(engine, first, options.speed_frames, options.config.max_speeches)
    served.figures += speed.figures(measured, engine.card.frame_seconds)


def _until_broken(figures: Iterator[Figure]) -> Iterator[Figure]:
    """Figures up to an error, which becomes one.

    A GPU that an operation has broken fails whatever is launched after it.
    """
    try:
        yield from figures
    except RuntimeError as error:
        log.exception("the comparison ended early")
        yield failed(language.SECTION, "comparison", " ".join(str(error).split())[:300])


def _compare(options: Options, served: _Served) -> Iterator[Figure]:
    """Figures of device against plain."""
    _free()
    parts, scripts = served.parts, _scripts(options, served)
    log.info("running the plain path in fp32")
    where = parts.device
    try:
        plain = _Plain(options, where, scripts)
    except torch.OutOfMemoryError:  # on a GPU that the fp32 weights do not fit beside
        _free()
        where = torch.device("cpu")
        plain = _Plain(options, where, scripts)
    rounded = plain.rounded(parts.dtype, parts.device) if parts.dtype != torch.float32 else None
    yield from plain.beside_encoders(served)
    yield from plain.beside_package(options, served)
    plain.forget()
    log.info("running the device's path")
    stages = Stages(parts.checkpoint, parts.ops, parts.text)
    device = language.runs_beside(stages, plain.exact, plain.scripts)
    groups = parts.model_config.code_groups
    yield from language.compare(plain.exact, rounded, device, plain.scripts, groups, parts.dtype)
    log.info("decoding with both codecs")
    decoded, places = _decoded(plain.scripts[0], options, served), (where, parts.device)
    yield from codec.compare(plain.decoder, parts.codec.decoder, decoded, places)


class _Plain:
    """The checkpoint read anew, in fp32, with plain operations."""

    def __init__(self, options: Options, device: torch.device, scripts: Sequence[Script]) -> None:
        self.checkpoint = _read(options, device)
        config = CodecDecoderConfig.from_json(self.checkpoint.codec_json["decoder_config"])
        self.decoder = CodecDecoder(config, under(self.checkpoint.codec, "decoder"))
        self._stages: Stages | None = Stages(self.checkpoint, ReferenceOps())
        self._voice: Voice | None = None
        self.exact, self.scripts = language.exact_runs(self._stages, scripts)

    def rounded(self, dtype: torch.dtype, device: torch.device) -> language.Runs:
        """Runs of the plain operations in the device's dtype."""
        main = {name: tensor.to(device, dtype) for name, tensor in self.checkpoint.main.items()}
        stages = Stages(replace(self.checkpoint, main=main), ReferenceOps())
        return language.runs_beside(stages, self.exact, self.scripts)

    def beside_encoders(self, served: _Served) -> Iterator[Figure]:
        """Figures of the encoders, where there is a recording.

        Later runs take the plain voice of it.
        """
        kept = next((each.request.kept for each in served.spoken if each.voice == speeches.WITH_TRANSCRIPT), None)
        if served.reference is not None and kept is not None:
            self._voice = cloning.plain_voice(self.checkpoint, served.reference)
            yield from cloning.figures(self._voice, kept, served.parts.dtype)

    def beside_package(self, options: Options, served: _Served) -> Iterator[Figure]:
        """Figures of the package qwen-tts."""
        spoken = next((each for each in served.spoken if each.ok), None)
        if options.config.dummy_weights or spoken is None:
            yield skipped(package.SECTION, "the package", "needs a checkpoint's folder, and a voice that speaks")
            return
        assert self._stages is not None
        request = spoken.request if self._voice is None else replace(spoken.request, kept=self._voice)
        script = replace(self.scripts[0], layout=served.parts.prompt_builder.build(request))
        folder = hub.checkpoint_folder(options.model)
        yield from package.figures(folder, spoken.request, served.reference, script, self._stages)

    def forget(self) -> None:
        """Free the weights of the language models."""
        self._stages, self.checkpoint = None, replace(self.checkpoint, main={})
        _free()


def _read(options: Options, device: torch.device) -> Checkpoint:
    if options.config.dummy_weights:
        return dummy_checkpoint(options.model, device, torch.float32)[0]
    return load_checkpoint(hub.checkpoint_folder(options.model), device, torch.float32)


def _scripts(options: Options, served: _Served) -> list[Script]:
    """Speeches to compare.

    As served, or, where none was, one that the plain path draws.
    """
    builder = served.parts.prompt_builder
    heard = [each for each in served.spoken if each.ok][: options.voices]
    scripts = [
        Script(
            each.voice,
            builder.build(each.request),
            builder.tokenizer,
            each.text,
            each.request.sampling,
            each.codes[: options.frames],
            options.frames,
        )
        for each in heard
    ]
    return scripts or [_own_script(options, served.parts)]


def _own_script(options: Options, parts: Parts) -> Script:
    request = parts.warm_up_request()
    layout = parts.prompt_builder.build(request) if request.reference is None else parts.prompt_builder.prepare(request)
    sampling = replace(parts.checkpoint.defaults, seed=0)
    return Script("", layout, parts.prompt_builder.tokenizer, speeches.SENTENCE, sampling, None, options.frames)


def _decoded(script: Script, options: Options, served: _Served) -> list[codec.Speech]:
    """Speeches for the codec.

    Whole ones as served, or the plain path's own codes.
    """
    heard = [each for each in served.spoken if each.ok][: options.voices]
    recordings = [None if each.request.kept is None else each.request.kept.codes for each in heard]
    speeches = [codec.speech(codes, each.codes, each.pcm) for codes, each in zip(recordings, heard, strict=True)]
    assert script.codes is not None
    return speeches or [codec.speech(None, script.codes, None)]


def _voices(options: Options, served: _Served) -> tuple[list[report.Voice], list[Figure]]:
    """Samples of all voices, with a recogniser's text."""
    rate = served.parts.model_config.sample_rate
    hear, figures = None, []
    try:
        hear = hearing.recogniser(options.recogniser)
        log.info("listening")
    except hearing.NoRecogniser as error:
        figures.append(skipped(speeches.SECTION, "what a recogniser hears", str(error)))
    samples = [
        report.Voice(each.voice, each.text, hear(each.pcm, rate) if hear else None, each.pcm, rate)
        for each in served.spoken
        if each.ok
    ]
    return samples, figures


def _codes(parts: Parts) -> int:
    """Codes of a codebook."""
    return parts.model_config.predictor.vocab


def _about(parts: Parts) -> dict[str, str]:
    device = parts.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    path = f"{parts.ops.name} operations, {str(parts.dtype)[6:]}{', graphs' if parts.graphs else ''}"
    return {"kind": parts.model_config.kind, "device": f"{device}, {name}", "path": path, "torch": torch.__version__}


def _free() -> None:
    """Free a GPU's memory, of reference cycles too."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
