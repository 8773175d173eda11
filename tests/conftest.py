"""What every test shares: one thread, and a cache of its own where it asks for one."""

from __future__ import annotations

import os

# Read when torch is first imported, here and in every process that a test starts.
# The order of a sum depends on the number of threads, and with it the last digits.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder that GANTUT_HOME points to, for tests that write."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("GANTUT_HOME", str(folder))
    return folder
