"""New values are cast once, to the dtypes in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edited_checkpoints import (
    content,
    double,
    edited,
    plain,
    torched,
)
from safetensors.torch import save_file
from torch import Tensor

from landscape.checkpoints import read
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import LandscapeError, NumericalError, UsageError


class TestTied:
    def tied(self, folder: Path) -> Path:
        base = torch.arange(12.0).view(3, 4)
        return torched({"embed": base, "head": base, "turned": torch.ones(2), "other": torch.zeros(2)}, folder)

    def test_all_names_of_one_tensor_change_together(self, tmp_path: Path) -> None:
        path = self.tied(tmp_path)
        before = content(path)
        output = edited(path, {"head": torch.ones(3, 4, dtype=torch.float64)})
        tensors = read(output).tensors
        assert torch.equal(tensors["embed"], torch.ones(3, 4))
        assert torch.equal(tensors["head"], torch.ones(3, 4))
        assert torch.equal(tensors["turned"], torch.ones(2))
        assert read_manifest(output)["changed"] == ["embed", "head"]
        assert content(undo_edit(output)) == before

    def test_unchanged_ones_stay_and_are_undone(self, tmp_path: Path) -> None:
        path = self.tied(tmp_path)
        before = content(path)
        output = edited(path, {"other": torch.ones(2, dtype=torch.float64)})
        assert torch.equal(read(output).tensors["embed"], read(output).tensors["head"])
        assert content(undo_edit(output)) == before

    def test_two_new_values_for_one_tensor_are_refused(self, tmp_path: Path) -> None:
        ones = torch.ones(3, 4, dtype=torch.float64)
        edited(self.tied(tmp_path), {"embed": ones, "head": ones})
        with pytest.raises(UsageError, match="embed and head are one tensor, with different new values"):
            edited(self.tied(tmp_path), {"embed": ones, "head": 2 * ones})

    @pytest.mark.parametrize("part", ["row", "transposed"])
    def test_names_that_share_a_part_are_refused(self, part: str, tmp_path: Path) -> None:
        base = torch.arange(16.0).view(4, 4)
        path = torched({"whole": base, "part": base[1:2] if part == "row" else base.T}, tmp_path)
        with pytest.raises(UsageError, match=r"whole and part share a part of their memory\n.*\n.*clone"):
            edited(path, {"whole": torch.zeros(4, 4, dtype=torch.float64)})

    def test_interleaved_views_share_nothing(self, tmp_path: Path) -> None:
        base = torch.arange(16.0).view(4, 4)
        path = torched({"left": base[:, :2], "right": base[:, 2:]}, tmp_path)
        output = edited(path, {"left": torch.zeros(4, 2, dtype=torch.float64)})
        assert torch.equal(read(output).tensors["right"], base[:, 2:])


REFUSED: dict[str, tuple[dict[str, Tensor], type[LandscapeError], str]] = {
    "unknown": ({"a.wieght": double(1.0)}, UsageError, r"no tensors called a.wieght \(did you mean a.weight\?\)"),
    "shape": ({"a.bias": double(1.0)}, UsageError, r"a.bias are torch.float64 \(1,\), not torch.float64 \(2,\)"),
    "dtype": ({"a.bias": torch.ones(2)}, UsageError, r"torch.float32 \(2,\), not torch.float64 \(2,\)\n.*rounded once"),
    "half": ({"half": double(0, 0, 7e4, 0, -7e4)}, NumericalError, "2 new values of half are beyond 65504"),
    "integer": ({"steps": torch.tensor(7.5, dtype=torch.float64)}, UsageError, "steps is int64, which cannot have"),
    "nan": ({"steps": torch.tensor(float("nan"), dtype=torch.float64)}, UsageError, "steps is int64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_will_not_do_are_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    changes, kind, message = REFUSED[case]
    path = plain(tmp_path)
    before = content(tmp_path)
    with pytest.raises(kind, match=message):
        write_edit(path, changes, tmp_path / "new.safetensors", about={})
    assert content(tmp_path) == before


def test_values_that_are_not_finite_are_written_as_they_were_given(tmp_path: Path) -> None:
    output = edited(plain(tmp_path), {"a.bias": double(float("nan"), float("-inf"))})
    assert read(output).tensors["a.bias"].isnan().tolist() == [True, False]


def test_a_value_that_eight_bits_would_cut_off_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "old.safetensors")
    with pytest.raises(NumericalError, match="1 new values of w are beyond 448"):
        edited(tmp_path / "old.safetensors", {"w": double(448.0, 1e6)})
