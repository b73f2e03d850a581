"""What the options and the result of `sensitivity` say of themselves, and the file of chosen bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLES
from torch import Tensor

from landscape import Sensitivity
from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange
from landscape.errors import UsageError
from landscape_cli.main import status

Data = tuple[Tensor, Tensor]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": (1,)}, "--bits is 1"),
        ({"bits": (4.5,)}, "--bits is 4.5"),
        ({"bits": (17,)}, "--bits is 17"),
        ({"prune": (1.0,)}, "--prune is 1"),
        ({"prune": (0,)}, "--prune is 0"),
        ({"bits": ()}, "nothing changes: neither --bits nor --prune"),
        ({"granularity": "rows"}, "--granularity is rows"),
        ({"granularity": "group:0"}, "--granularity is group:0"),
        ({"kinds": ("weights",)}, "--kinds is weights"),
        ({"operator": "preconditioned"}, "--operator preconditioned"),
        ({"operator": "pyhessian"}, "--operator pyhessian"),
        ({"bits": (8, 4), "budget": 3}, "--budget 3 is less than the fewest --bits"),
        ({"bits": (), "prune": (0.5,), "budget": 3}, "--budget 3 is less"),
        ({"budget": float("nan")}, "--budget nan"),
        ({"sample_groups": 1}, "--sample-groups is 1"),
        ({"tolerance": -1}, "--tolerance is -1"),
        ({"criterion": "size"}, "--criterion is 'size'"),
        ({"allocate_by": "trace"}, "--allocate-by is 'trace'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_options_that_change_nothing_or_cannot_are_refused(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sensitivity(**options)


def test_spellings_of_a_change_are_one() -> None:
    one = Sensitivity(bits=(8, 4.0, 4), prune=0.5, kinds="weight, embedding")  # type: ignore[arg-type]
    assert one == Sensitivity(bits=(8, 4), prune=(0.5,))
    assert one.changes == (WeightChange(bits=8), WeightChange(bits=4), WeightChange(share=0.5))
    assert [change.name for change in one.changes] == ["8 bits", "4 bits", "prune 50%"]
    assert Granularity.parse("Group:64") == Granularity(by_channel=True, group=64)


def test_the_command_writes_tables_a_picture_and_the_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(SAMPLES / "digits-mlp.pt"), "--bits", "8,3", "--prune", ".5", "--limit", "64", "-o", "mlp.h5"]
    assert status(["sensitivity", *words, "--budget", "4"]) == 0
    out, err = capsys.readouterr()
    assert "0 prune 50%" in out
    assert "bits by layer" in out
    assert "3 tensors stay as they are (bias)" in err
    assert (tmp_path / "mlp.sensitivity.png").stat().st_size > 0
    bits = json.loads((tmp_path / "mlp.allocation.json").read_text())["allocation"]
    assert set(bits) == {"0", "2", "4"}
    assert set(bits.values()) <= {8, 3}
