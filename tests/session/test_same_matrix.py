"""Results of the same matrix are drawn together, others are not."""

from __future__ import annotations

from pathlib import Path

from small_objectives import small_objective

from landscape import Density, Eig, session
from landscape.storage.read import read_results


def test_results_of_another_matrix_or_seed_of_its_labels_are_left_out(tmp_path: Path) -> None:
    output, objective = tmp_path / "a.landscape.h5", small_objective()
    session.run(Eig(k=1, operator="fisher", seed=0), objective, output=output)
    for seed, names in ((0, {"eig"}), (1, set())):
        session.run(Density(probes=2, steps=3, operator="fisher", seed=seed), objective, output=output)
        assert set(session.results_of_same_matrix(read_results(output), "density")) == names
    session.run(Density(probes=2, steps=3, operator="ggn"), objective, output=output)
    assert session.results_of_same_matrix(read_results(output), "density") == {}
