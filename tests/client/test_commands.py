"""The commands of the light client, in processes of their own, beside a scripted server."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwentts_client.audio import kind_of

from .background import Background
from .fake import Code, Fake, endless, refusing

COMMAND = [sys.executable, "-m", "qwentts_client"]


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Background() as fake:
        yield fake


def run(
    fake: Fake | None, *arguments: str, stdin: str = "", check: int = 0, lines: int = 1, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command, which must leave with `check`.

    Where that is no 0, `lines` lines are on stderr.
    """
    environment = {**os.environ, "QWENTTS_SERVER": fake.address if fake else "127.0.0.1:9", **options.pop("env", {})}
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin.encode(), capture_output=True, timeout=60, env=environment, **options
    )
    assert done.returncode == check, done.stderr.decode()
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    if check:
        assert done.stderr.startswith(b"qwentts-grpc: ") and done.stderr.count(b"\n") == lines, done.stderr.decode()
    return done


def frames(path: Path) -> int:
    with wave.open(str(path)) as file:
        return len(file.readframes(10**7)) // 2


def test_speak_writes_to_standard_output(fake: Fake, tmp_path: Path) -> None:
    done = run(fake, "speak", "Yes.", "--out", "-", cwd=tmp_path)
    assert done.stdout[:4] == b"RIFF" and len(done.stdout) == 44 + 3_840
    assert b"standard output: 0.08 s of audio" in done.stderr
    assert not list(tmp_path.iterdir())
    assert len(run(fake, "speak", "Yes.", "--out", "-", "--format", "pcm", "--quiet").stdout) == 3_840


def test_speak_completes_the_file_behind_standard_output(fake: Fake, tmp_path: Path) -> None:
    for mode, samples in (("wb", 1_920), ("ab", None)):
        out = tmp_path / f"{mode}.wav"
        with out.open(mode) as file:
            command = [*COMMAND, "speak", "Yes.", "--out", "-", "--server", fake.address]
            subprocess.run(command, stdout=file, check=True, timeout=60)
        with wave.open(str(out)) as wav:
            assert len(wav.readframes(10**6)) == 3_840
            assert samples is None or wav.getnframes() == samples


def test_speak_writes_into_a_fifo(fake: Fake, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (
        (tmp_path / "copy.wav").open("wb") as copy,
        subprocess.Popen(["cat", str(tmp_path / "fifo")], stdout=copy) as cat,
    ):
        run(fake, "speak", "-", "--out", "fifo", stdin="One.\nTwo.\n", cwd=tmp_path)
        assert cat.wait(5) == 0
    assert frames(tmp_path / "copy.wav") == 3_840
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize(
    ("out", "code"),
    [
        ("/proc/x.wav", 1),
        ("/dev/full", 1),
        ("x.mp3", 2),
        ("x.m4a", 2),
        ("x.docx", 2),
        (".", 2),
        ("nowhere/x.wav", 2),
        ("file/x.wav", 2),
        ("x" * 300 + ".wav", 2),
    ],
)
def test_places_that_take_no_audio_are_one_line(fake: Fake, tmp_path: Path, out: str, code: int) -> None:
    (tmp_path / "file").touch()
    done = run(fake, "speak", "Yes.", "--out", out, cwd=tmp_path, check=code)
    assert (b"--out: cannot write" if code == 1 else b"--out: ") in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_pipe_that_is_closed_is_one_line(tmp_path: Path) -> None:
    with Background(endless) as fake:
        command = [*COMMAND, "speak", "Yes.", "--out", "-", "--quiet", "--server", fake.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as speak:
            assert speak.stdout and speak.stderr and speak.stdout.read(100)
            speak.stdout.close()
            assert speak.wait(30) == 1
            assert speak.stderr.read() == b"qwentts-grpc: --out: cannot write standard output: Broken pipe\n"


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_what_has_come_is_kept_when_the_user_stops(tmp_path: Path) -> None:
    with Background(endless) as fake:
        command = [*COMMAND, "speak", "Yes.", "--server", fake.address]
        # Whoever runs the tests in the background has them ignore the signal, and so their children.
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=_heed_interrupts) as speak:
            until = time.monotonic() + 30
            while not (tmp_path / "out.wav").exists() or (tmp_path / "out.wav").stat().st_size < 9_000:
                assert time.monotonic() < until
                time.sleep(0.02)
            speak.send_signal(signal.SIGINT)
            _, errors = speak.communicate(timeout=90)
            assert speak.returncode == 130 and b"Traceback" not in errors
    with wave.open(str(tmp_path / "out.wav")) as wav:
        assert 1_920 * 2 <= wav.getnframes() < 10**6


@pytest.mark.parametrize("name", ["ü 语.wav", "existing.wav", "noending", "UPPER.WAV"])
def test_names_of_files(fake: Fake, tmp_path: Path, name: str) -> None:
    (tmp_path / "existing.wav").write_bytes(bytes(10**5))
    run(fake, "speak", "Yes.", "--out", name, cwd=tmp_path)
    assert frames(tmp_path / name) == 1_920 and (tmp_path / name).stat().st_size == 44 + 3_840


@pytest.mark.parametrize(("name", "kind"), [(".flac", "flac"), ("a.b.OGG", "ogg"), ("d.mp3/x", "wav"), ("x.", "wav")])
def test_the_end_of_a_name_says_its_kind(name: str, kind: str) -> None:
    assert kind_of(name) == kind_of(Path(name)) == kind


def test_speak_flushes_each_line_as_it_comes(fake: Fake, tmp_path: Path) -> None:
    command = [*COMMAND, "speak", "-", "--server", fake.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path, stderr=subprocess.DEVNULL) as speak:
        assert speak.stdin
        for line in (b"One.\n", b"\n", b"Two.\r\n", b"Thr\xff ee"):
            speak.stdin.write(line)
            speak.stdin.flush()
            time.sleep(0.1)
        until = time.monotonic() + 30
        while not fake.turns or sum(request.HasField("flush") for request in fake.turns[0]) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        speak.stdin.close()
        assert speak.wait(30) == 0
    sent = [request.text.text if request.HasField("text") else "!" for request in fake.turns[0][1:]]
    assert sent == ["One.\n", "!", "\n", "Two.\n", "!", "Thr\ufffd ee"]


def test_more_lines_than_a_turn_takes_are_several_turns(fake: Fake, tmp_path: Path) -> None:
    run(fake, "speak", "-", stdin="A line.\n" * 2_000, cwd=tmp_path)
    assert [len(turn) for turn in fake.turns] == [2_001, 2_001]
    assert frames(tmp_path / "out.wav") == 2_000 * 1_920


def test_json_tells_what_came_of_it(fake: Fake, tmp_path: Path) -> None:
    done = run(fake, "speak", "Yes.", "--json", cwd=tmp_path)
    facts = json.loads(done.stdout)
    assert (facts["out"], facts["seconds"], facts["started"]["voice"]) == ("out.wav", 0.08, "joe") and not done.stderr
    done = run(fake, "speak", "Yes.", "--json", "--out", "-", cwd=tmp_path)
    assert json.loads(done.stderr)["summary"]["finish_reason"] == "FINISH_REASON_STOP"
    assert run(fake, "speak", "Yes.", "--quiet", cwd=tmp_path).stderr == b""


def test_play_pipes_into_a_player(fake: Fake, tmp_path: Path) -> None:
    player = tmp_path / "aplay"
    player.write_text(f"#!/bin/sh\n/bin/cat > {tmp_path}/played.wav\n")
    player.chmod(0o755)
    run(fake, "speak", "Yes.", "--play", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert frames(tmp_path / "played.wav") == 1_920 and not (tmp_path / "out.wav").exists()
    run(fake, "speak", "Yes.", "--play", "--out", "too.wav", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert frames(tmp_path / "too.wav") == 1_920
    player.write_text("#!/bin/sh\nexit 3\n")
    done = run(fake, "speak", "Yes.", "--play", cwd=tmp_path, env={"PATH": str(tmp_path)}, check=1)
    assert b"aplay" in done.stderr
    player.unlink()
    done = run(fake, "speak", "Yes.", "--play", cwd=tmp_path, env={"PATH": str(tmp_path)}, check=2)
    assert b"--play needs one of ffplay" in done.stderr


def test_a_refusal_makes_no_file(tmp_path: Path) -> None:
    with Background(refusing(9, Code.NOT_FOUND, "VOICE_NOT_FOUND")) as fake:
        done = run(fake, "speak", "Yes.", "--voice", "nobody", cwd=tmp_path, check=1)
    assert b"NOT_FOUND: refused" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["speak", "Hi.", "--reference", "empty.wav"], "--reference: empty.wav: the recording is empty"),
        (["speak", "Hi.", "--reference", "empty.wav", "--transcript", "Hm."], "is empty"),
        (["speak", "Hi.", "--reference", "big.wav"], "--reference: big.wav: the recording has 10,485,761 bytes"),
        (["voices", "create", "v", "--audio", "empty.wav"], "--audio: empty.wav: the recording is empty"),
        (["speak", "Hi.", "--server", "http://x:1"], "--server: 'http://x:1' is no address"),
        (["speak", "Hi.", "--format", "mp3"], "--format"),
        (["speak", "Hi.", "--rate", "7"], "--rate"),
        (["speak", "Hi.", "--token", "ü"], "--token"),
        (["batch", "nowhere.txt", "--out", "b"], "cannot read nowhere.txt"),
        (["batch", "empty.wav", "--out", "b"], "empty.wav: no text"),
        (["batch", "lines", "--out", "empty.wav"], "--out: cannot write empty.wav"),
        (["completion", "tcsh"], "shell"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else None,
)
def test_bad_use_names_the_flag(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "lines").write_text("Hi.\n")
    (tmp_path / "big.wav").write_bytes(bytes(10 * 2**20 + 1))
    assert said in run(None, *arguments, cwd=tmp_path, check=2).stderr.decode()


def test_a_dead_proxy_does_not_matter_to_loopback(fake: Fake, tmp_path: Path) -> None:
    environment = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    run(fake, "speak", "Yes.", cwd=tmp_path, env=environment)
    done = run(None, "voices", "--server", "tts.example:1", check=1, env=environment)
    assert b"by the proxy http://127.0.0.1:9 (https_proxy)" in done.stderr


def test_info_health_and_voices(fake: Fake) -> None:
    assert json.loads(run(fake, "info", "--json").stdout)["server_version"] == fake.address
    assert fake.address.encode() in run(fake, "info").stdout
    assert run(fake, "health", "--wait", "5").stdout == b"SERVING\n"
    fake.health = 2
    done = subprocess.run([*COMMAND, "health", "--json", "--server", fake.address], capture_output=True, timeout=60)
    assert (done.returncode, json.loads(done.stdout)) == (1, {"status": "NOT_SERVING"})
    assert b"not ready within 0.5 s" in run(fake, "health", "--wait", "0.5", check=1).stderr
    (voice,) = json.loads(run(fake, "voices", "--json").stdout)
    assert (voice["name"], voice["kind"], voice["model"]) == ("joe", "built_in", "m")
    assert run(fake, "voices").stdout.split()[:3] == [b"joe", b"built_in", b"m"]


def test_batch_writes_a_file_a_line_and_goes_on_where_it_was(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("One.\n\nTwo.\nThree.\n")
    first = run(fake, "batch", "lines.txt", "--out", "b", cwd=tmp_path)
    assert b"3 written, 0 there before, 0 failed" in first.stderr
    assert sorted(path.name for path in (tmp_path / "b").glob("*.wav")) == ["0001.wav", "0003.wav", "0004.wav"]
    assert frames(tmp_path / "b" / "0003.wav") == 1_920
    assert all(turn[0].config.delivery.max_lead.seconds > 3_600 for turn in fake.turns)  # unpaced
    (tmp_path / "b" / "0004.wav").unlink()
    (tmp_path / "lines.txt").write_text("One.\n\nTwo, else.\nThree.\n")
    second = run(fake, "batch", "lines.txt", "--out", "b", "--quiet", cwd=tmp_path)
    assert (second.stderr, len(fake.turns)) == (b"", 5)
    entries = [json.loads(line) for line in (tmp_path / "b" / "manifest.jsonl").read_text().splitlines()]
    assert {entry["text"] for entry in entries[3:]} == {"Two, else.", "Three."} and not list(tmp_path.rglob("*.part"))


def test_batch_takes_objects(fake: Fake, tmp_path: Path) -> None:
    lines = [
        {"text": "One.", "out": "sub/one", "seed": 3, "voice": "slt"},
        {"text": "Zwei.", "out": "zwei.pcm", "language": "german"},
        {"text": "Three."},
    ]
    run(fake, "batch", "-", "--jsonl", "--out", "b", cwd=tmp_path, stdin="\n".join(map(json.dumps, lines)))
    made = sorted(str(path.relative_to(tmp_path / "b")) for path in (tmp_path / "b").rglob("*.[wp][ac][vm]"))
    assert made == ["0003.wav", "sub/one.wav", "zwei.pcm"]
    configs = {turn[1].text.text: turn[0].config for turn in fake.turns}
    assert (configs["One."].voice, configs["One."].sampling.seed) == ("slt", 3)
    assert (configs["Zwei."].language, configs["Three."].voice) == ("german", "joe")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "not an object with a text"),
        ('{"text": 5}', "not an object with a text"),
        ('{"text": "a", "voise": "x"}', "unknown voise"),
        ('{"text": "a", "seed": "x"}', "seed is not a whole number"),
        ('{"text": "a", "seed": -1}', "seed is not from 0"),
        ('{"text": "a", "voice": 5}', "voice is not a string"),
        ('{"text": "a", "out": "../x.wav"}', "is not a file within the folder"),
        ('{"text": "a", "out": "/x.wav"}', "is not a file within the folder"),
        ('{"text": "a", "out": "x.mp3"}', "cannot write mp3"),
        ('{"text": "\\ud83d"}', "half a surrogate pair"),
        ('{"text": "a", "out": "x"}\n{"text": "b", "out": "x.wav"}', "line 2: x.wav is the file of line 1 too"),
    ],
)
def test_batch_names_the_line_that_is_wrong(fake: Fake, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "lines.jsonl").write_text(line)
    assert said in run(fake, "batch", "lines.jsonl", "--out", "b", cwd=tmp_path, check=2).stderr.decode()
    assert not fake.turns


def test_batch_goes_on_after_a_line_that_fails_and_waits_for_a_full_queue(tmp_path: Path) -> None:
    batch = ("batch", "-", "--out")
    with Background(refusing(1, Code.INVALID_ARGUMENT, "TEXT_EMPTY")) as fake:
        done = run(
            fake, "batch", "-", "--out", "b", "--jobs", "1", stdin="One.\nTwo.\n", cwd=tmp_path, check=1, lines=2
        )
    assert b"line 1: INVALID_ARGUMENT" in done.stderr and b"1 written, 0 there before, 1 failed" in done.stderr
    with Background(refusing(6, Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.05)) as fake:
        run(fake, *batch, "c", stdin="One.\nTwo.\n", cwd=tmp_path)


def test_completion(tmp_path: Path) -> None:
    script = run(None, "completion", "bash").stdout.decode()
    ask = 'COMP_WORDS=({words} ""); COMP_CWORD={at}; _qwentts_grpc; echo "${{COMPREPLY[@]}}"'
    for words, wanted in (
        ("qwentts-grpc", "speak"),
        ("qwentts-grpc speak Hi.", "--voice"),
        ("qwentts-grpc speak Hi. --format", "flac"),
        ("qwentts-grpc voices create", "--audio"),
        ("qwentts-grpc completion", "zsh"),
    ):
        program = f"{script}\n{ask.format(words=words, at=len(words.split()))}"
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
        assert wanted in done.stdout.split(), (words, done.stdout, done.stderr)
    assert "complete -c qwentts-grpc" in run(None, "completion", "fish").stdout.decode()
    assert "bashcompinit" in run(None, "completion", "zsh").stdout.decode()
