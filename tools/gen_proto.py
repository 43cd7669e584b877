"""Generate the Python stubs of the contract: `python tools/gen_proto.py [OUT_DIR]`, with grpcio-tools 1.74.0 installed.

The stubs live in `qwentts_grpc.v1`, while the descriptor keeps the name `qwentts/v1/tts.proto` that reflection shows
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


def compile_stubs(out: Path) -> None:
    """Write protoc's output below `out`; raise SystemExit with protoc's status if it fails."""
    well_known = str(resources.files("grpc_tools") / "_proto")
    outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    status = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", *outputs, PROTO])
    if status:
        raise SystemExit(status)


def with_package_imports(source: str) -> str:
    """The generated `source` with module paths of this package in place of protoc's."""
    return source.replace("from qwentts.v1 import", "from qwentts_grpc.v1 import").replace(
        "'qwentts.v1.tts_pb2'", "'qwentts_grpc.v1.tts_pb2'"
    )


def generate(target: Path) -> None:
    """Write the stubs into the folder `target`."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_stubs(Path(scratch))
        target.mkdir(parents=True, exist_ok=True)
        for name in STUBS:
            source = (Path(scratch) / PROTO).with_name(name).read_text(encoding="utf-8")
            (target / name).write_text(with_package_imports(source), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "qwentts_grpc" / "v1")
