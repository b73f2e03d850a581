"""What the options and the result of `sensitivity` say of themselves, and the file of chosen bits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SAMPLES, tanh_net
from small_sensitivities import two_layers
from torch import Tensor

import landscape
from landscape import Objective, Sensitivity, session
from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange
from landscape.errors import UsageError
from landscape.gates.metric import Metric, read_metric
from landscape.storage import paths
from landscape_cli.main import status

Data = tuple[Tensor, Tensor]
CHOSEN: dict[str, Any] = {
    "layer": np.array(["a", "b"]), "layer_parameters": np.array([6, 8]), "layer_bits": np.array([8, 3]),
    "allocation_bits": 5.0, "allocation_expected": 1e-3, "allocation_change": 2e-3, "allocation_change_se": 1e-4,
    "uniform_bits": 4, "uniform_change": 5e-3, "uniform_change_se": 1e-4, "allocation_gain": 3e-3,
    "allocation_gain_se": 2e-4,
}  # fmt: skip


@pytest.fixture
def result() -> SensitivityResult:
    return two_layers()


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


def test_forecasts_that_fail_or_rank_otherwise_are_named(result: SensitivityResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == [
        "3 bits: the second-order forecast fails for 1 and is unclear for 1 of 2 layers",
        "3 bits: rank layers by the real changes, the forecast ranks them otherwise",
    ]


def test_few_layers_have_no_correlation(result: SensitivityResult) -> None:
    unknown = replace(result, layers=2, kind_spearman=np.array([np.nan, np.nan]))
    assert unknown.remarks()[-1] == "2 layers: ranks of layers have no correlation"
    assert replace(unknown, layers=1).remarks()[-1] == "one layer: ranks of layers have no correlation"


def test_a_correlation_that_is_not_known_is_doubtful(result: SensitivityResult) -> None:
    unknown = replace(result, kind_spearman=np.array([np.nan, 1.0]))
    assert unknown.remarks()[-1].startswith("8 bits: rank layers by the real changes")


def test_the_chosen_bits_are_told_beside_uniform_ones(result: SensitivityResult) -> None:
    assert replace(result, **CHOSEN).remarks()[-1] == (
        "bits by layer, 5 on average: the loss changes by 0.002 (the layers' sum is 0.001), with 4 bits everywhere by "
        "0.005; the difference is 0.003 +- 0.0002"
    )
    within = replace(result, **{**CHOSEN, "allocation_gain_se": 0.002})
    assert within.remarks()[-1].endswith("the difference is 0.003 +- 0.002, which is within its error")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"change_real": np.array([1.0, np.inf, 1.0, 1.0])}, "not finite: b 8 bits"),
        ({"change_forecast": np.array([1.0, 1.0, np.nan, 1.0])}, "not finite: a 3 bits"),
        ({"kind_real": np.array([1.0, np.nan])}, "not finite: all layers 3 bits"),
        ({**CHOSEN, "allocation_change": float("nan")}, "not finite: the loss with the chosen bits"),
    ],
    ids=["real", "forecast", "joint", "chosen"],
)
def test_numbers_that_are_not_finite_are_inconclusive(result: SensitivityResult, changes: Any, why: str) -> None:
    trouble = replace(result, **changes).trouble()
    assert trouble is not None
    assert trouble.why == why
    assert trouble.kind == "not finite"


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


def test_a_change_of_a_layer_can_be_gated_by_its_name(classification: Data) -> None:
    result = landscape.run(Sensitivity(bits=(3,)), Objective(tanh_net(), [classification], "cross_entropy"))
    reading = read_metric(result, Metric.parse("sensitivity.change_real[2 3 bits]"))
    assert reading.value == result.change_real[1]
    assert reading.error == result.change_real_se[1]
