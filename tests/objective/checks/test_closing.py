"""The loss and the weights are compared with those before the measurement; findings are stored, printed and gated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_breakers import BATCHES, Net, SavedDerivative, X, Y, counts_large_batches
from torch import Tensor

import landscape
from landscape import session
from landscape.objective.checks import closing
from landscape.objective.checks.finding import from_json
from landscape.storage.read import read_results


def test_a_loss_that_drifts_during_the_measurement_is_inconclusive_and_the_attribute_named() -> None:
    objective = landscape.Objective(Net(counts_large_batches), (X, Y), "cross_entropy")
    trouble = landscape.run(landscape.Eig(k=3), objective).trouble()
    assert trouble is not None
    assert "keeps state from pass to pass: calls, kept" in trouble.why
    assert trouble.kind == "contract"


def test_weights_that_change_late_are_named() -> None:
    def clamps_late(net: Any, z: Tensor) -> Tensor:
        if net.calls > 25:
            net.b.weight.data.clamp_(-0.1, 0.1)
        return z

    objective = landscape.Objective(Net(clamps_late), BATCHES, "cross_entropy")
    trouble = landscape.run(landscape.Flatness(rho=(0.1,)), objective).trouble()
    assert trouble is not None
    assert "changed b.weight during the measurement" in trouble.why


def test_findings_are_stored_and_read_again(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy")
    result = landscape.run(landscape.Eig(k=1), objective, output=output)
    stored = read_results(output)["eig"]
    assert from_json(stored.attributes["checks"]) == result.checks
    assert session.result_of(landscape.Eig.result, stored).checks == result.checks
    names = [finding.check for finding in result.checks]
    assert names == [
        "purity", "loss", "modes", "leaves", "gradient", "independence", "repetition", "slope", "precision", "curvature"
    ]  # fmt: skip
    assert all(finding.claim and finding.cost for finding in result.checks)


def test_a_broken_claim_is_stored_as_partial_and_never_gated(tmp_path: Path) -> None:
    def saves(net: Any, z: Tensor) -> Tensor:
        out: Tensor = SavedDerivative.apply(z)  # type: ignore[no-untyped-call]
        return out

    output = tmp_path / "a.landscape.h5"
    result = landscape.run(landscape.Eig(k=1), landscape.Objective(Net(saves), BATCHES, "cross_entropy"), output=output)
    stored = read_results(output)["eig"]
    assert stored.attributes["status"] == "partial"
    again = session.result_of(landscape.Eig.result, stored)
    assert again.trouble() == result.trouble()
    assert again.not_gateable("eigenvalues", (0,))
    assert [path.name for path in tmp_path.iterdir()] == ["a.landscape.h5"]  # no snapshot: more work would not help


def test_results_of_earlier_versions_have_no_findings(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    landscape.run(landscape.Eig(k=1), landscape.Objective(Net(), BATCHES, "cross_entropy"), output=output)
    stored = read_results(output)["eig"]
    del stored.attributes["checks"]
    assert session.result_of(landscape.Eig.result, stored).checks == ()
    assert session.has_readable_attributes(stored.attributes)


def test_a_check_that_fails_itself_loses_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(measured: Any) -> Any:
        raise ValueError("broken")

    checks = tuple(closing.Check(check.name, check.claim, check.cost, fails) for check in closing.CLOSING_CHECKS)
    monkeypatch.setattr(closing, "CLOSING_CHECKS", checks)
    result = landscape.run(landscape.Eig(k=1), landscape.Objective(Net(), BATCHES, "cross_entropy"))
    assert result.trouble() is None
    assert [finding.verdict for finding in result.checks[-4:]] == ["not run"] * 4
    assert "could not be made: ValueError: broken" in result.checks[-1].found


def test_json_holds_the_findings() -> None:
    record = session.execute(landscape.Eig(k=1), landscape.Objective(Net(), BATCHES, "cross_entropy"))
    document = json.loads(json.dumps(record.document()))
    assert [one["verdict"] for one in document["checks"]] == ["holds"] * 10


def test_products_are_compared_only_where_there_were_any() -> None:
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy")
    found = {one.check: one for one in landscape.run(landscape.Eig(k=1, operator="ggn"), objective).checks}
    assert found["curvature"].verdict == "not run"
    assert torch.isfinite(objective.theta).all()
