"""What accelerators could do at best, by name."""

from __future__ import annotations

# Dense matmul TFLOP/s of one device by the start of its name, at JAX's default precision (float32 runs as TF32 on these GPUs and as
# bfloat16 on TPUs); from the vendors' data sheets.
PEAKS: dict[str, dict[str, float]] = {
    "NVIDIA A100": {"float32": 156.0, "bfloat16": 312.0},
    "NVIDIA H100 80GB HBM3": {"float32": 494.7, "bfloat16": 989.4},
    "NVIDIA H200": {"float32": 494.7, "bfloat16": 989.4},
    "TPU v4": {"float32": 275.0, "bfloat16": 275.0},
    "TPU v5 lite": {"float32": 197.0, "bfloat16": 197.0},
    "TPU v5": {"float32": 459.0, "bfloat16": 459.0},  # v5p; behind the one whose name begins alike
    "TPU v6 lite": {"float32": 918.0, "bfloat16": 918.0},
}


def peak_of(device: str, dtype: str) -> float | None:
    """Dense matmul TFLOP/s of a device by its name, None where it is not known."""
    return next((rates[dtype] for name, rates in PEAKS.items() if device.startswith(name)), None)
