import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AudioEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_ENCODING_UNSPECIFIED: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_PCM_S16LE: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_PCM_F32LE: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_MULAW: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_ALAW: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_OGG_OPUS: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_FLAC: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_WAV: _ClassVar[AudioEncoding]

class TextMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_MODE_UNSPECIFIED: _ClassVar[TextMode]
    TEXT_MODE_INCREMENTAL: _ClassVar[TextMode]
    TEXT_MODE_WHOLE: _ClassVar[TextMode]

class TextFilter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_FILTER_UNSPECIFIED: _ClassVar[TextFilter]
    TEXT_FILTER_NONE: _ClassVar[TextFilter]
    TEXT_FILTER_MARKUP: _ClassVar[TextFilter]

class NoticeCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_CODE_UNSPECIFIED: _ClassVar[NoticeCode]
    NOTICE_CODE_DRAINING: _ClassVar[NoticeCode]
    NOTICE_CODE_TEXT_STARVED: _ClassVar[NoticeCode]
    NOTICE_CODE_VALUE_ADJUSTED: _ClassVar[NoticeCode]
    NOTICE_CODE_PACED: _ClassVar[NoticeCode]
    NOTICE_CODE_REFERENCE_QUALITY: _ClassVar[NoticeCode]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_CANCELLED: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_GUARD: _ClassVar[FinishReason]

class ModelKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_KIND_UNSPECIFIED: _ClassVar[ModelKind]
    MODEL_KIND_CUSTOM_VOICE: _ClassVar[ModelKind]
    MODEL_KIND_VOICE_DESIGN: _ClassVar[ModelKind]
    MODEL_KIND_BASE: _ClassVar[ModelKind]

class VoiceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VOICE_KIND_UNSPECIFIED: _ClassVar[VoiceKind]
    VOICE_KIND_BUILT_IN: _ClassVar[VoiceKind]
    VOICE_KIND_CLONED: _ClassVar[VoiceKind]
AUDIO_ENCODING_UNSPECIFIED: AudioEncoding
AUDIO_ENCODING_PCM_S16LE: AudioEncoding
AUDIO_ENCODING_PCM_F32LE: AudioEncoding
AUDIO_ENCODING_MULAW: AudioEncoding
AUDIO_ENCODING_ALAW: AudioEncoding
AUDIO_ENCODING_OGG_OPUS: AudioEncoding
AUDIO_ENCODING_FLAC: AudioEncoding
AUDIO_ENCODING_WAV: AudioEncoding
TEXT_MODE_UNSPECIFIED: TextMode
TEXT_MODE_INCREMENTAL: TextMode
TEXT_MODE_WHOLE: TextMode
TEXT_FILTER_UNSPECIFIED: TextFilter
TEXT_FILTER_NONE: TextFilter
TEXT_FILTER_MARKUP: TextFilter
NOTICE_CODE_UNSPECIFIED: NoticeCode
NOTICE_CODE_DRAINING: NoticeCode
NOTICE_CODE_TEXT_STARVED: NoticeCode
NOTICE_CODE_VALUE_ADJUSTED: NoticeCode
NOTICE_CODE_PACED: NoticeCode
NOTICE_CODE_REFERENCE_QUALITY: NoticeCode
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_CANCELLED: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_GUARD: FinishReason
MODEL_KIND_UNSPECIFIED: ModelKind
MODEL_KIND_CUSTOM_VOICE: ModelKind
MODEL_KIND_VOICE_DESIGN: ModelKind
MODEL_KIND_BASE: ModelKind
VOICE_KIND_UNSPECIFIED: VoiceKind
VOICE_KIND_BUILT_IN: VoiceKind
VOICE_KIND_CLONED: VoiceKind

class SynthesizeRequest(_message.Message):
    __slots__ = ("config", "text", "flush", "cancel")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    config: SynthesisConfig
    text: TextChunk
    flush: Flush
    cancel: Cancel
    def __init__(self, config: _Optional[_Union[SynthesisConfig, _Mapping]] = ..., text: _Optional[_Union[TextChunk, _Mapping]] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ...) -> None: ...

class SynthesisConfig(_message.Message):
    __slots__ = ("request_id", "model", "voice", "reference", "instructions", "language", "audio_format", "sampling", "delivery")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    voice: str
    reference: ReferenceVoice
    instructions: str
    language: str
    audio_format: AudioFormat
    sampling: SamplingOptions
    delivery: DeliveryOptions
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., voice: _Optional[str] = ..., reference: _Optional[_Union[ReferenceVoice, _Mapping]] = ..., instructions: _Optional[str] = ..., language: _Optional[str] = ..., audio_format: _Optional[_Union[AudioFormat, _Mapping]] = ..., sampling: _Optional[_Union[SamplingOptions, _Mapping]] = ..., delivery: _Optional[_Union[DeliveryOptions, _Mapping]] = ...) -> None: ...

class ReferenceVoice(_message.Message):
    __slots__ = ("audio", "transcript", "speaker_embedding_only", "consent_reference")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_EMBEDDING_ONLY_FIELD_NUMBER: _ClassVar[int]
    CONSENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    transcript: str
    speaker_embedding_only: bool
    consent_reference: str
    def __init__(self, audio: _Optional[bytes] = ..., transcript: _Optional[str] = ..., speaker_embedding_only: bool = ..., consent_reference: _Optional[str] = ...) -> None: ...

class AudioFormat(_message.Message):
    __slots__ = ("encoding", "sample_rate_hertz")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    encoding: AudioEncoding
    sample_rate_hertz: int
    def __init__(self, encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ...) -> None: ...

class SamplingOptions(_message.Message):
    __slots__ = ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "predictor_temperature", "predictor_top_p", "predictor_top_k", "max_audio")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_TOP_P_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_TOP_K_FIELD_NUMBER: _ClassVar[int]
    MAX_AUDIO_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int
    predictor_temperature: float
    predictor_top_p: float
    predictor_top_k: int
    max_audio: _duration_pb2.Duration
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., repetition_penalty: _Optional[float] = ..., seed: _Optional[int] = ..., predictor_temperature: _Optional[float] = ..., predictor_top_p: _Optional[float] = ..., predictor_top_k: _Optional[int] = ..., max_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeliveryOptions(_message.Message):
    __slots__ = ("text_mode", "first_chunk_frames", "max_chunk_frames", "max_lead", "input_idle_timeout", "word_timings", "frame_duration", "text_filter", "sentence_segments")
    TEXT_MODE_FIELD_NUMBER: _ClassVar[int]
    FIRST_CHUNK_FRAMES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_FRAMES_FIELD_NUMBER: _ClassVar[int]
    MAX_LEAD_FIELD_NUMBER: _ClassVar[int]
    INPUT_IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    WORD_TIMINGS_FIELD_NUMBER: _ClassVar[int]
    FRAME_DURATION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FILTER_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    text_mode: TextMode
    first_chunk_frames: int
    max_chunk_frames: int
    max_lead: _duration_pb2.Duration
    input_idle_timeout: _duration_pb2.Duration
    word_timings: bool
    frame_duration: _duration_pb2.Duration
    text_filter: TextFilter
    sentence_segments: bool
    def __init__(self, text_mode: _Optional[_Union[TextMode, str]] = ..., first_chunk_frames: _Optional[int] = ..., max_chunk_frames: _Optional[int] = ..., max_lead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., input_idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., word_timings: bool = ..., frame_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text_filter: _Optional[_Union[TextFilter, str]] = ..., sentence_segments: bool = ...) -> None: ...

class TextChunk(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class Flush(_message.Message):
    __slots__ = ("mark",)
    MARK_FIELD_NUMBER: _ClassVar[int]
    mark: str
    def __init__(self, mark: _Optional[str] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class SynthesizeResponse(_message.Message):
    __slots__ = ("started", "audio", "words", "flush_done", "notice", "summary", "segment_done")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    FLUSH_DONE_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_DONE_FIELD_NUMBER: _ClassVar[int]
    started: Started
    audio: AudioFrame
    words: WordTimings
    flush_done: FlushDone
    notice: Notice
    summary: Summary
    segment_done: SegmentDone
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AudioFrame, _Mapping]] = ..., words: _Optional[_Union[WordTimings, _Mapping]] = ..., flush_done: _Optional[_Union[FlushDone, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., segment_done: _Optional[_Union[SegmentDone, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("request_id", "model", "voice", "audio_format", "seed", "queue_wait", "text_mode")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_WAIT_FIELD_NUMBER: _ClassVar[int]
    TEXT_MODE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    voice: str
    audio_format: AudioFormat
    seed: int
    queue_wait: _duration_pb2.Duration
    text_mode: TextMode
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., voice: _Optional[str] = ..., audio_format: _Optional[_Union[AudioFormat, _Mapping]] = ..., seed: _Optional[int] = ..., queue_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text_mode: _Optional[_Union[TextMode, str]] = ...) -> None: ...

class AudioFrame(_message.Message):
    __slots__ = ("data", "sequence", "pts", "duration", "segment", "last")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PTS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    sequence: int
    pts: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    segment: int
    last: bool
    def __init__(self, data: _Optional[bytes] = ..., sequence: _Optional[int] = ..., pts: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., segment: _Optional[int] = ..., last: bool = ...) -> None: ...

class WordTimings(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[WordTiming]
    def __init__(self, words: _Optional[_Iterable[_Union[WordTiming, _Mapping]]] = ...) -> None: ...

class WordTiming(_message.Message):
    __slots__ = ("word", "start", "end", "text_offset")
    WORD_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    word: str
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    text_offset: int
    def __init__(self, word: _Optional[str] = ..., start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text_offset: _Optional[int] = ...) -> None: ...

class SegmentDone(_message.Message):
    __slots__ = ("segment", "text_start", "text_end", "start_pts", "end_pts", "text_mode")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_START_FIELD_NUMBER: _ClassVar[int]
    TEXT_END_FIELD_NUMBER: _ClassVar[int]
    START_PTS_FIELD_NUMBER: _ClassVar[int]
    END_PTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_MODE_FIELD_NUMBER: _ClassVar[int]
    segment: int
    text_start: int
    text_end: int
    start_pts: _duration_pb2.Duration
    end_pts: _duration_pb2.Duration
    text_mode: TextMode
    def __init__(self, segment: _Optional[int] = ..., text_start: _Optional[int] = ..., text_end: _Optional[int] = ..., start_pts: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_pts: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text_mode: _Optional[_Union[TextMode, str]] = ...) -> None: ...

class FlushDone(_message.Message):
    __slots__ = ("mark", "segment", "pts")
    MARK_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    PTS_FIELD_NUMBER: _ClassVar[int]
    mark: str
    segment: int
    pts: _duration_pb2.Duration
    def __init__(self, mark: _Optional[str] = ..., segment: _Optional[int] = ..., pts: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: NoticeCode
    message: str
    def __init__(self, code: _Optional[_Union[NoticeCode, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("finish_reason", "audio_duration", "audio_samples", "audio_frames", "codec_frames", "text_characters", "text_tokens", "seed", "queue_wait", "time_to_first_audio", "total_time", "longest_gap", "underruns", "server_time_to_first_audio", "text_underruns", "engine_underruns", "client_underruns", "work_time")
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    AUDIO_DURATION_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FRAMES_FIELD_NUMBER: _ClassVar[int]
    CODEC_FRAMES_FIELD_NUMBER: _ClassVar[int]
    TEXT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    TEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_WAIT_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_AUDIO_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TIME_FIELD_NUMBER: _ClassVar[int]
    LONGEST_GAP_FIELD_NUMBER: _ClassVar[int]
    UNDERRUNS_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_TO_FIRST_AUDIO_FIELD_NUMBER: _ClassVar[int]
    TEXT_UNDERRUNS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_UNDERRUNS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_UNDERRUNS_FIELD_NUMBER: _ClassVar[int]
    WORK_TIME_FIELD_NUMBER: _ClassVar[int]
    finish_reason: FinishReason
    audio_duration: _duration_pb2.Duration
    audio_samples: int
    audio_frames: int
    codec_frames: int
    text_characters: int
    text_tokens: int
    seed: int
    queue_wait: _duration_pb2.Duration
    time_to_first_audio: _duration_pb2.Duration
    total_time: _duration_pb2.Duration
    longest_gap: _duration_pb2.Duration
    underruns: int
    server_time_to_first_audio: _duration_pb2.Duration
    text_underruns: Underruns
    engine_underruns: Underruns
    client_underruns: Underruns
    work_time: _duration_pb2.Duration
    def __init__(self, finish_reason: _Optional[_Union[FinishReason, str]] = ..., audio_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., audio_samples: _Optional[int] = ..., audio_frames: _Optional[int] = ..., codec_frames: _Optional[int] = ..., text_characters: _Optional[int] = ..., text_tokens: _Optional[int] = ..., seed: _Optional[int] = ..., queue_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., time_to_first_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., longest_gap: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., underruns: _Optional[int] = ..., server_time_to_first_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text_underruns: _Optional[_Union[Underruns, _Mapping]] = ..., engine_underruns: _Optional[_Union[Underruns, _Mapping]] = ..., client_underruns: _Optional[_Union[Underruns, _Mapping]] = ..., work_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Underruns(_message.Message):
    __slots__ = ("count", "duration")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    count: int
    duration: _duration_pb2.Duration
    def __init__(self, count: _Optional[int] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SynthesizeTextRequest(_message.Message):
    __slots__ = ("config", "text")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    config: SynthesisConfig
    text: str
    def __init__(self, config: _Optional[_Union[SynthesisConfig, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class SynthesizeTextResponse(_message.Message):
    __slots__ = ("started", "audio", "words", "notice", "summary", "segment_done")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_DONE_FIELD_NUMBER: _ClassVar[int]
    started: Started
    audio: AudioFrame
    words: WordTimings
    notice: Notice
    summary: Summary
    segment_done: SegmentDone
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AudioFrame, _Mapping]] = ..., words: _Optional[_Union[WordTimings, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., segment_done: _Optional[_Union[SegmentDone, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("server_version", "models", "native_sample_rate_hertz", "codec_frame", "audio_formats", "max_text_characters", "max_audio", "max_concurrent_streams", "voice_creation_enabled", "consent_required", "max_recording_bytes", "max_recording")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NATIVE_SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    CODEC_FRAME_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FORMATS_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_AUDIO_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_STREAMS_FIELD_NUMBER: _ClassVar[int]
    VOICE_CREATION_ENABLED_FIELD_NUMBER: _ClassVar[int]
    CONSENT_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    native_sample_rate_hertz: int
    codec_frame: _duration_pb2.Duration
    audio_formats: _containers.RepeatedCompositeFieldContainer[AudioFormat]
    max_text_characters: int
    max_audio: _duration_pb2.Duration
    max_concurrent_streams: int
    voice_creation_enabled: bool
    consent_required: bool
    max_recording_bytes: int
    max_recording: _duration_pb2.Duration
    def __init__(self, server_version: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ..., native_sample_rate_hertz: _Optional[int] = ..., codec_frame: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., audio_formats: _Optional[_Iterable[_Union[AudioFormat, _Mapping]]] = ..., max_text_characters: _Optional[int] = ..., max_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_concurrent_streams: _Optional[int] = ..., voice_creation_enabled: bool = ..., consent_required: bool = ..., max_recording_bytes: _Optional[int] = ..., max_recording: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "kind", "languages", "instructions_supported")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_SUPPORTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: ModelKind
    languages: _containers.RepeatedScalarFieldContainer[str]
    instructions_supported: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[ModelKind, str]] = ..., languages: _Optional[_Iterable[str]] = ..., instructions_supported: bool = ...) -> None: ...

class Voice(_message.Message):
    __slots__ = ("name", "kind", "description", "languages", "create_time", "model", "owner", "consent_reference")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CONSENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: VoiceKind
    description: str
    languages: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    model: str
    owner: str
    consent_reference: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[VoiceKind, str]] = ..., description: _Optional[str] = ..., languages: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[str] = ..., owner: _Optional[str] = ..., consent_reference: _Optional[str] = ...) -> None: ...

class ListVoicesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "language")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    language: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class ListVoicesResponse(_message.Message):
    __slots__ = ("voices", "next_page_token")
    VOICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    voices: _containers.RepeatedCompositeFieldContainer[Voice]
    next_page_token: str
    def __init__(self, voices: _Optional[_Iterable[_Union[Voice, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetVoiceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetVoiceResponse(_message.Message):
    __slots__ = ("voice",)
    VOICE_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ...) -> None: ...

class CreateVoiceRequest(_message.Message):
    __slots__ = ("spec", "audio")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    spec: VoiceSpec
    audio: bytes
    def __init__(self, spec: _Optional[_Union[VoiceSpec, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class VoiceSpec(_message.Message):
    __slots__ = ("name", "transcript", "speaker_embedding_only", "description", "consent_reference", "audio_sha256", "shared", "replace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_EMBEDDING_ONLY_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CONSENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SHA256_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    transcript: str
    speaker_embedding_only: bool
    description: str
    consent_reference: str
    audio_sha256: bytes
    shared: bool
    replace: bool
    def __init__(self, name: _Optional[str] = ..., transcript: _Optional[str] = ..., speaker_embedding_only: bool = ..., description: _Optional[str] = ..., consent_reference: _Optional[str] = ..., audio_sha256: _Optional[bytes] = ..., shared: bool = ..., replace: bool = ...) -> None: ...

class CreateVoiceResponse(_message.Message):
    __slots__ = ("voice", "notices")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ...) -> None: ...

class DeleteVoiceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteVoiceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
