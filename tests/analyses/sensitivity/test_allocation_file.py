"""The file of chosen bits: every layer and tensor, with what the choice was made for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import tanh_net
from small_sensitivities import two_layers
from torch import Tensor

from landscape import Objective, Sensitivity, session
from landscape.analyses.sensitivity.allocation_file import write_allocation
from landscape.errors import OutputError
from landscape.storage import paths

Data = tuple[Tensor, Tensor]


def test_the_file_of_bits_holds_every_layer_and_tensor(classification: Data, tmp_path: Path) -> None:
    objective, output = Objective(tanh_net(), [classification], "cross_entropy"), tmp_path / "run.landscape.h5"
    said: list[str] = []
    analysis = Sensitivity(bits=(8, 4, 2), budget=4.5, granularity="group:2")
    record = session.execute(analysis, objective, output=output, say=said.append)
    path = tmp_path / "run.allocation.json"
    assert path in record.written
    document = json.loads(path.read_text())
    bits = dict(zip(map(str, record.result.layer), map(int, record.result.layer_bits), strict=True))
    assert document["allocation"] == bits
    assert document["tensors"] == {"0.weight": bits["0"], "2.weight": bits["2"]}
    assert document["mean_bits"] == record.result.allocation_bits <= document["budget"] == 4.5
    assert document["granularity"] == "group:2"
    assert document["loss_change"] == record.result.allocation_change
    assert document["weights_sha256"] == objective.weights_sha256
    assert paths.file_kind_by_content(path) == paths.file_kind(path) == "allocation"
    session.execute(Sensitivity(bits=(8,)), objective, output=output, say=said.append)
    assert said[-1].endswith("run.allocation.json holds the bits of an earlier run (--budget writes new ones)")


def test_bits_go_to_the_tensors_of_the_kinds_that_change(classification: Data, tmp_path: Path) -> None:
    objective, path = Objective(tanh_net(), [classification], "cross_entropy"), tmp_path / "a.allocation.json"
    result = two_layers(layer=np.array(["0", "2"]), layer_bits=np.array([8, 3]), allocation_bits=5.0)
    write_allocation(Sensitivity(budget=5, kinds=("weight", "bias")), result, objective, path)
    document = json.loads(path.read_text())
    assert document["allocation"] == {"0": 8, "2": 3}
    assert document["tensors"] == {"0.weight": 8, "0.bias": 8, "2.weight": 3, "2.bias": 3}
    assert document["loss_change"] is None
    assert "2^(bits-1) - 1" in document["scheme"]


def test_an_earlier_file_stays_where_the_new_one_cannot_be_written(classification: Data, tmp_path: Path) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = two_layers(layer=np.array(["0", "2"]), layer_bits=np.array([8, 3]))
    with pytest.raises(OutputError, match=r"nowhere/a\.json cannot be written"):
        write_allocation(Sensitivity(), result, objective, tmp_path / "nowhere" / "a.json")
    assert not list(tmp_path.iterdir())
