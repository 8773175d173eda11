"""Weights as safetensors files: read without running any code, written aside and renamed."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import nn

from gantut.errors import CheckpointError
from gantut.files import writing


def save(network: nn.Module, path: str | Path, half: bool = False) -> Path:
    """Write a network's parameters and buffers.

    Args:
        network: on any device.
        path: of the file.
        half: floats as float16, half the size; values beyond 65,504 would overflow.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    state = {}
    for key, value in network.state_dict().items():
        value = value.detach().cpu()
        state[key] = (value.half() if half and value.is_floating_point() else value).contiguous()
    with writing(path, CheckpointError) as aside:
        aside.write_bytes(safetensors_torch.save(state))
    return path


def load(network: nn.Module, path: str | Path) -> nn.Module:
    """Read weights that :func:`save` wrote into a network of the same shape, in float32.

    Raises:
        CheckpointError: no such file, a damaged one, or weights of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        state = safetensors_torch.load_file(path)
    except (OSError, SafetensorError):
        raise CheckpointError(
            f"The weights file {path} is damaged; fetch or write it again."
        ) from None
    full = {k: v.float() if v.dtype == torch.float16 else v for k, v in state.items()}
    try:
        network.load_state_dict(full)
    except RuntimeError:
        raise CheckpointError(f"The weights in {path} are of another network.") from None
    return network


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
