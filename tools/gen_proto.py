"""Python stubs of the contract; `--check` compares without writing.

Needs grpcio-tools 1.74.0.
The stubs live in `qwentts_client.v1`, while the descriptor keeps the name `qwentts/v1/tts.proto` that reflection shows
to clients; protoc derives the import path from that name, so it is put right afterwards.
"""

import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = "qwentts/v1/tts.proto"
STUBS = ("tts_pb2.py", "tts_pb2.pyi", "tts_pb2_grpc.py")
TARGET = ROOT / "clients" / "python" / "qwentts_client" / "v1"


def compiled(scratch: Path) -> dict[str, str]:
    """Generated sources by file name, made in the folder `scratch`.

    Raises SystemExit with protoc's status if it fails.
    """
    well_known = str(resources.files("grpc_tools") / "_proto")
    outputs = [f"--python_out={scratch}", f"--pyi_out={scratch}", f"--grpc_python_out={scratch}"]
    status = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", *outputs, PROTO])
    if status:
        raise SystemExit(status)
    return {name: (scratch / PROTO).with_name(name).read_text(encoding="utf-8") for name in STUBS}


def with_package_imports(source: str) -> str:
    """`source` with module paths of this package for protoc's."""
    source = source.replace("from qwentts.v1 import", "from qwentts_client.v1 import")
    return source.replace("'qwentts.v1.tts_pb2'", "'qwentts_client.v1.tts_pb2'")


def main(check: bool) -> None:
    """Write the stubs, or with `--check` list stale ones.

    Raises SystemExit with their names where some differ.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {TARGET / name: with_package_imports(source) for name, source in compiled(Path(scratch)).items()}
    stale = [path for path, source in fresh.items() if not path.exists() or path.read_text(encoding="utf-8") != source]
    if check and stale:
        raise SystemExit(f"stale stubs, run make proto: {', '.join(path.name for path in stale)}")
    for path in stale:
        path.write_text(fresh[path], encoding="utf-8")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
