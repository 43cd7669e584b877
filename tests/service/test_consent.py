"""Consent: recordings that need it on record, those that nobody may clone, and the log of what was done."""

import asyncio
import json
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest

from engine.api.errors import InvalidRequest
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.service.audit import AuditLog
from qwentts_grpc.voices.consent import Consent, read_digests

from .conftest import Running, failure, kinds, send, serving, text, turn
from .test_created_voices import create, names, upload
from .test_kinds import clone, recording

pytestmark = pytest.mark.asyncio(loop_scope="session")

EMPTY = ["", " ", "\n\t", "​", "...", "-", "\u2060⠀"]


def turn_with(consent: str, audio: bytes = b"") -> pb.SynthesizeRequest:
    return clone(audio or recording(), speaker_embedding_only=True, consent_reference=consent)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_recording_needs_a_consent_where_the_operator_says_so(
    base_checkpoint: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    async with serving(base_checkpoint, config={"require_consent": True, "audit_log": audit}) as running:
        assert (await running.stub.GetServerInfo(pb.GetServerInfoRequest())).consent_required
        for consent in EMPTY:
            made = await failure(running.voices.CreateVoice(upload("v", consent_reference=consent)))
            assert (made.code, made.reason, made.fields) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "CONSENT_MISSING",
                ["spec.consent_reference"],
            )
            spoken = await failure(running.stub.Synthesize(send([turn_with(consent), text("Hi.")])))
            assert (spoken.reason, spoken.fields) == ("CONSENT_MISSING", ["config.reference.consent_reference"])
            whole = pb.SynthesizeTextRequest(config=turn_with(consent).config, text="Hi.")
            assert (await failure(running.stub.SynthesizeText(whole))).reason == "CONSENT_MISSING"
        assert await names(running) == []
        assert (await create(running, "v", consent_reference="form 7")).consent_reference == "form 7"
        assert kinds(await turn(running, turn_with("Formular № 9"), text("Hi.")))[-1] == "summary"
        listed = (await running.voices.ListVoices(pb.ListVoicesRequest())).voices
        assert [each.consent_reference for each in listed] == ["form 7"]
    outcomes = [(line["event"], line["outcome"], line["consent_reference"]) for line in lines(audit)]
    assert outcomes[-2:] == [("create", "OK", "form 7"), ("clone", "OK", "Formular № 9")]
    assert len(outcomes) == 3 * len(EMPTY) + 2 and {each[1] for each in outcomes[:-2]} == {"CONSENT_MISSING"}


async def test_the_audit_log_says_who_cloned_what_and_nothing_that_was_said(
    base_checkpoint: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    audit.write_text("kept\n")
    async with serving(base_checkpoint, config={"audit_log": audit}) as running:
        await create(running, "anna", transcript="Secret words.", description="Secret thoughts.")
        await turn(running, turn_with("form 7"), text("Secret speech."))
        request = turn_with("form 8")
        request.config.request_id = "mine-1"
        await turn(running, request, text("Secret speech."))
        await failure(running.voices.CreateVoice(upload("x\ny" * 500, consent_reference="c" * 1_001)))
        os.rename(audit, tmp_path / "rotated")
        await failure(running.voices.DeleteVoice(pb.DeleteVoiceRequest(name="nobody")))
        await turn(running, turn_with("form 9"), text("Hi."))
    rotated = (tmp_path / "rotated").read_text()
    assert rotated.startswith("kept\n") and "Secret" not in rotated
    made, first, second, refused = (json.loads(line) for line in rotated.splitlines()[1:])
    assert set(made) == {
        "time",
        "tenant",
        "peer",
        "request_id",
        "event",
        "voice",
        "shared",
        "audio_sha256",
        "consent_reference",
        "outcome",
    }
    assert made["audio_sha256"] == first["audio_sha256"] == sha256(recording()).hexdigest()
    assert (second["request_id"], first["consent_reference"]) == ("mine-1", "form 7")
    assert refused["outcome"] == "FIELD_INVALID" and len(refused["voice"]) == 64
    assert [line["event"] for line in lines(audit)] == ["delete", "clone"]
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600


async def test_a_cancelled_upload_is_written_down(base_checkpoint: Path, tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    async with serving(base_checkpoint, config={"audit_log": audit}) as running:
        call = running.voices.CreateVoice()
        await call.write(next(upload("anna")))
        await asyncio.sleep(0.2)
        call.cancel()
        for _ in range(100):
            if audit.read_text():
                break
            await asyncio.sleep(0.02)
        assert [line["outcome"] for line in lines(audit)] == ["CANCELLED"]


async def test_what_cannot_be_written_down_is_not_done(base_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    async with serving(base_checkpoint, config={"audit_log": tmp_path / "logs" / "audit"}) as running:
        (tmp_path / "logs").rename(tmp_path / "gone")
        refused = await failure(running.voices.CreateVoice(upload("anna")))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        spoken = await failure(running.stub.Synthesize(send([turn_with("form"), text("Hi.")])))
        assert spoken.reason == "INTERNAL"
        assert await names(running) == []
        (tmp_path / "gone").rename(tmp_path / "logs")
        await create(running, "anna")


async def test_an_audit_log_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "no" / "audit", tmp_path / "fifo"):
        with pytest.raises(OSError, match=str(path)) as raised:
            AuditLog(path)
        assert "\n" not in str(raised.value)


async def test_denied_recordings_are_cloned_by_nobody(base_checkpoint: Path, tmp_path: Path) -> None:
    denied = tmp_path / "denied"
    denied.write_text(f"# of the actor\n{sha256(recording(pitch=90)).hexdigest().upper()}  # both forms\n")
    async with serving(base_checkpoint, config={"denied_recordings": denied}) as running:
        await denies(running, recording(pitch=90))
        await create(running, "v")
        denied.write_text("nonsense\n")
        running.server.files.reload()
        await denies(running, recording(pitch=90))
        denied.write_text(sha256(recording()).hexdigest())
        running.server.files.reload()
        await denies(running, recording())
        assert kinds(await turn(running, turn_with("", recording(pitch=90)), text("Hi.")))[-1] == "summary"


async def denies(running: Running, audio: bytes) -> None:
    made = running.voices.CreateVoice(upload("w", audio))
    spoken = running.stub.Synthesize(send([turn_with("form 7", audio), text("Hi.")]))
    for call in (made, spoken):
        refused = await failure(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "RECORDING_DENIED")


@pytest.mark.parametrize("content", ["12", "zz" * 32, "00" * 31, f"{'00' * 32} {'00' * 32}x", "\udcff"])
async def test_a_list_that_holds_no_digests_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "denied").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(OSError, match="denied") as raised:
        read_digests(tmp_path / "denied")
    assert "\n" not in str(raised.value)


async def test_without_a_rule_no_consent_is_needed_but_its_length_is_bounded() -> None:
    consent = Consent()
    consent.check_reference("field", "")
    with pytest.raises(InvalidRequest, match="longer"):
        consent.check_reference("field", "x" * 1_001)
