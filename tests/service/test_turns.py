"""Turns that go well: the laws of the stream, text in any pieces, flushes, and both kinds of cancel."""

import asyncio
import itertools
import struct
from typing import Any

import grpc
import numpy as np
import pytest

from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, cancel, config, failure, flush, kinds, pcm, send, text, turn
from .fakes import Ending

pytestmark = pytest.mark.asyncio(loop_scope="session")

SENTENCE = "The quick brown fox jumps over the lazy dog."


def check_laws(responses: list[pb.SynthesizeResponse], width: int = 2) -> pb.Summary:
    """`Started` first, one Summary last, `sequence` and `pts` without holes, one last frame."""
    names = kinds(responses)
    assert names[0] == "started" and names[-1] == "summary"
    assert names.count("started") == names.count("summary") == 1
    frames = [response.audio for response in responses if response.HasField("audio")]
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    assert [frame.last for frame in frames] == [False] * (len(frames) - 1) + [True]
    after = names[max(i for i, name in enumerate(names) if name == "audio") + 1 :]
    assert set(after) <= {"segment_done", "flush_done", "summary"}
    ends = [0, *itertools.accumulate(frame.duration.ToNanoseconds() for frame in frames)]
    assert [frame.pts.ToNanoseconds() for frame in frames] == ends[:-1]
    summary = responses[-1].summary
    assert summary.audio_frames == len(frames)
    assert summary.audio_duration.ToNanoseconds() == ends[-1]
    assert summary.audio_samples * width == len(pcm(responses))
    assert summary.codec_frames * 1_920 == summary.audio_samples
    assert summary.seed == responses[0].started.seed
    return summary


def assert_same_audio(one: bytes, other: bytes) -> None:
    """Equal within one step of 16 bits: the codec rounds by how many frames it decodes at a time."""
    first, second = (np.frombuffer(data, "<i2").astype(np.int32) for data in (one, other))
    assert first.shape == second.shape and first.size
    assert np.abs(first - second).max() <= 1


async def test_a_turn_keeps_the_laws_and_repeats_its_figures_in_trailers(tts: Running) -> None:
    call = tts.stub.Synthesize(send([config(request_id="turn-1"), text(SENTENCE)]))
    responses = [response async for response in call]
    summary = check_laws(responses)
    started = responses[0].started
    assert (started.request_id, started.voice, started.model) == ("turn-1", "ryan", "tiny-custom")
    assert started.audio_format == pb.AudioFormat(encoding=pb.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=24_000)
    assert (summary.finish_reason, summary.codec_frames) == (pb.FINISH_REASON_LENGTH, 10)
    assert summary.text_characters == len(SENTENCE)
    assert 0 < summary.time_to_first_audio.ToNanoseconds() < summary.total_time.ToNanoseconds()
    trailers = dict(await call.trailing_metadata())
    assert trailers == {**trailers, "audio-samples": "19200", "finish-reason": "length"}


async def test_text_may_come_whole_or_in_any_pieces(tts: Running) -> None:
    whole = await turn(tts, config(), text(SENTENCE))
    letters = await turn(tts, config(), *map(text, SENTENCE))
    halves = await turn(tts, config(), text(SENTENCE[:20]), text(""), 0.1, text(SENTENCE[20:]))
    assert len(pcm(whole)) == 38_400
    assert_same_audio(pcm(whole), pcm(letters))
    assert_same_audio(pcm(whole), pcm(halves))


async def test_both_methods_say_the_same(tts: Running) -> None:
    request = pb.SynthesizeTextRequest(config=config().config, text=SENTENCE)
    responses = [response async for response in tts.stub.SynthesizeText(request)]
    check_laws(responses)
    assert_same_audio(pcm(responses), pcm(await turn(tts, config(), text(SENTENCE))))


async def test_audio_leaves_before_the_last_text_comes(tts: Running) -> None:
    more = asyncio.Event()

    async def requests() -> Any:
        yield config(2.0)
        yield text(SENTENCE)
        await more.wait()
        yield text(" And then some.")

    call = tts.stub.Synthesize(requests(), timeout=30)
    names = []
    async for response in call:
        names.append(response.WhichOneof("payload"))
        if names[-1] == "audio":
            more.set()
    assert names[-1] == "summary"


async def test_started_comes_before_any_text(tts: Running) -> None:
    call = tts.stub.Synthesize(timeout=10)
    await call.write(config())
    responses = [await call.read()]
    assert kinds(responses) == ["started"]
    await call.write(text("Now."))
    await call.done_writing()
    while not responses[-1].HasField("summary"):
        responses.append(await call.read())
    check_laws(responses)


async def test_every_flush_is_answered_in_place_and_segments_go_on(tts: Running) -> None:
    with tts.runner(lambda runner: Ending(runner, tts.eos, after=5)):
        responses = await turn(
            tts, config(4.0), text("One."), flush("a"), text(" Two."), 0.3, flush("b"), text(" Three.")
        )
    summary = check_laws(responses)
    assert (summary.finish_reason, summary.codec_frames) == (pb.FINISH_REASON_STOP, 15)
    done = [response.flush_done for response in responses if response.HasField("flush_done")]
    assert [(mark.mark, mark.segment, mark.pts.ToMilliseconds()) for mark in done] == [("a", 0, 400), ("b", 1, 800)]
    for response in responses:
        if response.audio.data:
            assert response.audio.segment == response.audio.pts.ToMilliseconds() // 400
    place = [kind for kind in kinds(responses) if kind != "notice"]
    assert place.index("flush_done") > place.index("audio")


@pytest.mark.parametrize("mode", [pb.TEXT_MODE_UNSPECIFIED, pb.TEXT_MODE_INCREMENTAL, pb.TEXT_MODE_WHOLE])
@pytest.mark.parametrize("blank", ["", "\n\n", "\u2028\u200b", "...", "👍"])
async def test_a_segment_with_nothing_to_speak_is_answered_without_audio(
    tts: Running, blank: str, mode: pb.TextMode
) -> None:
    asked = config(4.0, mode)
    with tts.runner(lambda runner: Ending(runner, tts.eos, after=5)):
        responses = await turn(tts, asked, text(blank), flush("a"), text("Yes."), flush("b"), text(blank))
    assert check_laws(responses).codec_frames == 5
    done = [response.flush_done for response in responses if response.HasField("flush_done")]
    assert [(mark.mark, mark.segment, mark.pts.ToMilliseconds()) for mark in done] == [("a", 0, 0), ("b", 1, 400)]
    assert {response.audio.segment for response in responses if response.audio.data} == {1}


async def test_markup_is_left_out_where_that_is_asked_for(tts: Running) -> None:
    marked = "# **Hello** <break time='1s'/>[my friend](http://x.org) 👋, how are `you`?"
    asked, unasked = (
        config(delivery=pb.DeliveryOptions(text_filter=chosen, max_chunk_frames=1))
        for chosen in (pb.TEXT_FILTER_MARKUP, pb.TEXT_FILTER_NONE)
    )
    plain = pcm(await turn(tts, unasked, text("Hello my friend , how are you?")))
    assert_same_audio(pcm(await turn(tts, asked, *map(text, marked))), plain)
    summary = check_laws(responses := await turn(tts, asked, text(marked)))
    assert_same_audio(pcm(responses), plain)
    assert summary.text_characters == len(marked)
    assert pcm(await turn(tts, unasked, text(marked))) != plain


@pytest.mark.parametrize("marked", ["<br/>", "**🙂**", "- \n---", "[](http://a.b)", "&nbsp;"])
async def test_a_turn_of_markup_alone_has_nothing_to_speak(tts: Running, marked: str) -> None:
    asked = config(delivery=pb.DeliveryOptions(text_filter=pb.TEXT_FILTER_MARKUP))
    streamed = await failure(tts.stub.Synthesize(send([asked, text(marked)])))
    whole = await failure(tts.stub.SynthesizeText(pb.SynthesizeTextRequest(config=asked.config, text=marked)))
    assert streamed.reason == whole.reason == "TEXT_EMPTY"
    summary = check_laws(await turn(tts, asked, text(marked), flush("a"), text("Yes")))
    assert summary.codec_frames == 10


async def test_a_cancel_message_ends_with_a_summary_and_status_ok(tts: Running) -> None:
    call = tts.stub.Synthesize(send([config(60.0), text(SENTENCE), 0.3, cancel(), 60.0]), timeout=20)
    responses = [response async for response in call]
    summary = check_laws(responses)
    assert summary.finish_reason == pb.FINISH_REASON_CANCELLED
    assert await call.code() is grpc.StatusCode.OK
    assert dict(await call.trailing_metadata())["finish-reason"] == "cancelled"


async def test_a_cancel_at_once_is_a_whole_turn_too(tts: Running) -> None:
    summary = check_laws(await turn(tts, config(), cancel(), text("ignored")))
    assert summary.finish_reason == pb.FINISH_REASON_CANCELLED


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.1, 0.3])
async def test_a_hard_cancel_frees_everything_at_once(tts: Running, wait: float) -> None:
    call = tts.stub.Synthesize(send([config(60.0), text(SENTENCE), 60.0]))
    await asyncio.sleep(wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    await tts.idle(1.0)


async def test_a_lost_connection_frees_everything(tts: Running) -> None:
    channel = grpc.aio.insecure_channel(tts.address, options=(("grpc.use_local_subchannel_pool", 1),))
    call = channel.stream_stream(
        "/qwentts.v1.TTSService/Synthesize",
        request_serializer=pb.SynthesizeRequest.SerializeToString,
        response_deserializer=pb.SynthesizeResponse.FromString,
    )(send([config(60.0), text(SENTENCE), 60.0]))
    await call.read()
    await channel.close()
    await tts.idle(1.0)


async def test_a_caller_who_stops_reading_and_leaves_frees_everything(tts: Running) -> None:
    fast = config(60.0)
    fast.config.delivery.max_lead.FromSeconds(600)
    call = tts.stub.Synthesize(send([fast, text(SENTENCE), 60.0]))
    await call.read()
    await asyncio.sleep(0.5)
    call.cancel()
    await tts.idle(1.0)


async def test_a_deadline_ends_the_call_and_frees_everything(tts: Running) -> None:
    call = tts.stub.Synthesize(send([config(60.0), text(SENTENCE), 60.0]), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in call:
            pass
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await tts.idle(1.0)


async def test_float_and_wav_hold_the_same_samples(tts: Running) -> None:
    plain = np.frombuffer(pcm(await turn(tts, config(), text(SENTENCE))), "<i2")
    floats = config(audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_PCM_F32LE))
    wav = config(audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_WAV))
    responses = await turn(tts, floats, text(SENTENCE))
    check_laws(responses, width=4)
    scaled = np.frombuffer(pcm(responses), "<f4") * np.float32(32_768)
    assert_same_audio(scaled.astype("<i2").tobytes(), plain.tobytes())
    assert (scaled == np.rint(scaled)).all()
    file = pcm(await turn(tts, wav, text(SENTENCE)))
    assert file[:4] == b"RIFF" and struct.unpack_from("<I", file, 24) == (24_000,)
    assert_same_audio(file[44:], plain.tobytes())


@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 60, 100])
async def test_frames_of_one_length_for_telephony(tts: Running, milliseconds: int) -> None:
    asked = config(audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_MULAW, sample_rate_hertz=8_000))
    asked.config.delivery.frame_duration.FromMilliseconds(milliseconds)
    with tts.runner(lambda runner: Ending(runner, tts.eos, after=5)):
        responses = await turn(tts, asked, text(SENTENCE), flush("a"), text(SENTENCE))
    *frames, last = [response.audio for response in responses if response.HasField("audio")]
    assert {len(frame.data) for frame in frames} == {8 * milliseconds} and 0 < len(last.data) <= 8 * milliseconds
    assert responses[-1].summary.audio_samples == sum(len(frame.data) for frame in (*frames, last)) == 6_400
    assert [frame.pts.ToMilliseconds() for frame in frames] == [n * milliseconds for n in range(len(frames))]


async def test_many_turns_at_once_say_what_each_says_alone(tts: Running) -> None:
    async def speak(seed: int) -> bytes:
        request = config(0.8)
        request.config.sampling.seed = seed
        return pcm(await turn(tts, request, text(f"Number {seed}.")))

    alone = [await speak(seed) for seed in range(1, 7)]
    together = await asyncio.gather(*map(speak, range(1, 7)))  # six turns, four slots
    for one, other in zip(alone, together, strict=True):
        assert_same_audio(one, other)


async def test_what_has_no_effect_is_told_after_started(tts: Running) -> None:
    asked = config(delivery=pb.DeliveryOptions(word_timings=True))
    responses = await turn(tts, asked, text("Hi."))
    assert kinds(responses)[:2] == ["started", "notice"]
    assert responses[1].notice.code == pb.NOTICE_CODE_VALUE_ADJUSTED


async def test_a_turn_that_waits_for_text_says_so_once(tts: Running) -> None:
    responses = await turn(tts, config(0.8), text("Hello there, "), 0.8, text("friend."))
    notices = [response.notice.code for response in responses if response.HasField("notice")]
    assert notices.count(pb.NOTICE_CODE_TEXT_STARVED) == 1
    check_laws(responses)


async def test_the_servers_facts(tts: Running) -> None:
    info = await tts.stub.GetServerInfo(pb.GetServerInfoRequest())
    (model,) = info.models
    assert (model.name, model.kind, model.instructions_supported) == ("tiny-custom", pb.MODEL_KIND_CUSTOM_VOICE, True)
    assert (info.native_sample_rate_hertz, info.codec_frame.ToMilliseconds()) == (24_000, 80)
    assert (info.max_concurrent_streams, info.max_text_characters) == (4, 2_000)
    assert pb.AUDIO_ENCODING_WAV in {format.encoding for format in info.audio_formats}
