"""Which results have figures."""

from __future__ import annotations

from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Measures, Objective
from landscape.analyses import ANALYSES
from landscape.analyses.direction import DirectionResult
from landscape.analyses.eig import EigResult
from landscape.figures import FIGURES, drawn
from landscape.figures.registry import panel_count


def test_every_result_has_a_figure_but_for_those_of_a_few_numbers() -> None:
    assert {analysis.result for analysis in ANALYSES} - FIGURES.keys() == {DirectionResult}


def test_a_result_is_drawn_if_it_has_panels(eig_result: EigResult) -> None:
    assert panel_count(eig_result) == 2
    assert drawn(eig_result)


def test_what_is_no_result_is_not_drawn() -> None:
    assert panel_count("text") == 0
    assert not drawn("text")


Data = tuple[Tensor, Tensor]


def test_a_few_numbers_have_no_picture(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    assert not drawn(landscape.run(Measures(draws=0), objective))
    assert drawn(landscape.run(Measures(draws=0, by="class"), objective))
