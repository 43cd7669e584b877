"""Where a checkpoint's files are looked for, and what is said when they cannot be used."""

import json
from pathlib import Path

import pytest

from engine.api.errors import CheckpointError
from engine.checkpoint.hub import INDEX, WEIGHTS, checkpoint_folder, weight_files


def test_weights_lie_in_one_file_or_in_those_that_an_index_names(tmp_path: Path) -> None:
    assert weight_files(tmp_path) == [WEIGHTS]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "two", "b": "one", "c": "two"}}))
    assert weight_files(tmp_path) == ["one", "two"]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}', '{"weight_map": 1}']
)
def test_a_broken_index_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        weight_files(tmp_path)


def test_what_is_missing_is_listed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"merges\.txt, .*speech_tokenizer/model\.safetensors is missing"):
        checkpoint_folder(str(tmp_path))
    with pytest.raises(CheckpointError, match="no such folder"):
        checkpoint_folder(str(tmp_path / "nowhere"))


def test_a_revision_pins_what_the_hub_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def download(name: str, *, revision: str | None, **_: object) -> str:
        asked.append((name, revision))
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for model in ("owner/name@0123abc", "owner/name"):
        with pytest.raises(CheckpointError, match=rf"{model}: no such folder, and no download: no network"):
            checkpoint_folder(model)
    assert asked == [("owner/name", "0123abc"), ("owner/name", None)]


def test_a_mistyped_folder_is_not_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(CheckpointError, match=r"^models/tpyo: no such folder$"):
        checkpoint_folder("models/tpyo")
