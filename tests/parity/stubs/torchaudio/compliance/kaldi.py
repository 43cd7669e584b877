"""See the package."""


def fbank(*_: object, **__: object) -> None:
    raise NotImplementedError("torchaudio is not installed")
