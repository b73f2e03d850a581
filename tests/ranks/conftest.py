"""A folder with a checkpoint and a model that does what a test asks for on one rank."""

from __future__ import annotations

from pathlib import Path

import faulty_rank
import pytest
import torch


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(faulty_rank.build().state_dict(), tmp_path / "net.pt")
    (tmp_path / "faulty.py").write_text(Path(faulty_rank.__file__).read_text())
    return tmp_path
