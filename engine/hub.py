"""Where a checkpoint lies: a local folder, or a hub id that is downloaded once."""

from pathlib import Path

from engine.errors import CheckpointError

FILES = ("config.json", "generation_config.json", "vocab.json", "merges.txt", "model.safetensors")
CODEC_FILES = ("speech_tokenizer/config.json", "speech_tokenizer/model.safetensors")


def checkpoint_folder(model: str) -> Path:
    """The folder of a checkpoint given by path or by hub id ("owner/name"); downloads show their progress.

    Raises `CheckpointError` with one clear line when it cannot be had or lacks a file.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _download(model)
    missing = [name for name in (*FILES, *CODEC_FILES) if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder} is not a Qwen3-TTS checkpoint: {', '.join(missing)} is missing")
    return folder


def _download(model: str) -> Path:
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise CheckpointError(f"{model}: no such folder")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.safetensors", "speech_tokenizer/*"]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except Exception as error:  # the hub client raises many kinds, for the network and for wrong names alike
        raise CheckpointError(f"{model}: no such folder, and no download: {str(error).splitlines()[0]}") from error
