"""What was written while the population was spelled `memorised`: checkpoints, results, options and baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from memorized import fit_net
from torch import Tensor

from landscape import Edit, Memorization, Objective, session
from landscape.analyses.memorization.edit_result import EditResult
from landscape.analyses.memorization.memorization_result import MemorizationResult
from landscape.errors import TaskError
from landscape.evaluation.populations import populations
from landscape.gates import baseline, measuring
from landscape.gates.baseline import Baseline
from landscape.gates.metric import Metric
from landscape.gates.policy import parse_policy
from landscape.gates.verdict import judge
from landscape.storage.read import read_results, to_record

Data = tuple[Tensor, Tensor]
FEW: dict[str, Any] = {"bands": (0.1, 0.5), "controls": 1, "resamples": 50}
METRIC = "memorization.population_loss[memorized]"


def respelled(path: Path, group: str) -> None:
    """Writes the names of populations in a results file as the first versions did."""
    with h5py.File(path, "r+") as file:
        for name in ("population", "bounded_by"):
            if name in file[group]:
                words = [bytes(word).decode().replace("memorized", "memorised") for word in file[group][name]]
                file[group][name][...] = words


def test_a_checkpoint_s_own_population_has_today_s_name(classification: Data) -> None:
    objective = fit_net(classification)
    objective.populations = {"memorised": objective.populations["memorized"]}
    assert list(populations(objective)) == ["memorized"]


def test_a_population_under_both_spellings_is_refused(classification: Data) -> None:
    objective = fit_net(classification)
    x, y = classification
    objective.populations = {"memorised": (x[:3], y[:3]), "memorized": (x[:3], y[:3])}
    with pytest.raises(TaskError, match="two populations have the same name: memorised, memorized"):
        populations(objective)


def test_options_accept_the_former_spelling_and_give_the_same_bits(classification: Data) -> None:
    former = Memorization(**FEW, factors_on="memorised")
    current = Memorization(**FEW, factors_on="memorized")
    assert former == current
    one = session.run(former, fit_net(classification))
    two = session.run(current, fit_net(classification))
    assert np.array_equal(one.delta_loss_lo, two.delta_loss_lo)
    assert Edit(rho=(0.9,), bounded_by="memorised").bounded_by == "memorized"


def test_fingerprints_keep_the_former_spelling(classification: Data) -> None:
    edit = Edit(rho=(0.9,), factors_on="memorized", bounded_by="memorized")
    assert edit.identity()["factors_on"] == edit.identity()["bounded_by"] == "memorised"
    assert Edit(rho=(0.9,)).identity()["bounded_by"] is None
    assert edit.ingredients(fit_net(classification))["populations"].startswith("memorised ")


@pytest.mark.parametrize(
    ("analysis", "kind"),
    [(Memorization(**FEW), MemorizationResult), (Edit(rho=(0.9,), bounded_by="memorized"), EditResult)],
    ids=["memorization", "edit"],
)
def test_a_stored_result_reads_back_with_today_s_names(
    analysis: Memorization | Edit, kind: type, classification: Data, tmp_path: Path
) -> None:
    output = tmp_path / "a.landscape.h5"
    objective: Objective = fit_net(classification)
    result = session.execute(analysis, objective, output=output, deliver=False).result
    respelled(output, analysis.name)
    again = to_record(kind, read_results(output)[analysis.name])
    assert list(again.population) == ["memorized", "clean", "held-out"]
    assert again.to_dict() == result.to_dict()


def test_a_baseline_in_the_former_spelling_gates_a_new_result(classification: Data, tmp_path: Path) -> None:
    output, path = tmp_path / "a.landscape.h5", tmp_path / "b.json"
    session.run(Memorization(**FEW), fit_net(classification), output=output)
    rules = parse_policy(metrics=["memorization.population_loss[memorised]"])
    assert rules.metrics == [Metric.parse(METRIC)]
    entry = measuring.read_entry(output, rules)
    baseline.write_baseline(path, Baseline("same-weights", [entry]))
    path.write_text(path.read_text().replace(METRIC, METRIC.replace("memorized", "memorised")))
    (verdict,) = judge(rules, baseline.read_baseline(path).entries, [entry])
    assert verdict.status == "pass"
    assert verdict.metric == METRIC
