"""Networks on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_network(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` of a file, which uses one core for each of its calls.

    Safe to call from several threads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # The networks are small, and several work at a time: a second thread costs more than it brings.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
