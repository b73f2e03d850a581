"""Formats that run code are refused with the way to save their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.checkpoints.formats.detection import FORMATS
from landscape.checkpoints.formats.running_code import EXPORTED, TORCHSCRIPT
from landscape.errors import CheckpointError


@pytest.mark.parametrize("format", [EXPORTED, TORCHSCRIPT], ids=lambda format: format.name)
def test_describing_one_is_refused_and_a_model_is_asked_for_where_the_file_has_none(tmp_path: Path, format) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CheckpointError, match=r"opening it runs code from it\n.*as data only\n.*--trust") as refusal:
        format.describe(tmp_path / "a")
    assert ("--model model.py:build" in refusal.value.fix) == (format is TORCHSCRIPT)
    assert format in FORMATS
    assert (format.editable, format.keeps_tree, format.describes_model) == (False, False, False)
    with pytest.raises(NotImplementedError, match="never read as data"):
        format.fetch(type("Contents", (), {"format": format}), {})
