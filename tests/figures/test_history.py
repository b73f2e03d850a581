"""The figure of a history draws its numbers over its steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape import figures
from landscape.errors import UsageError
from landscape.figures import draw
from landscape.figures import history as figure
from landscape.figures.registry import panel_count
from landscape.history import History, Moment, Quantity


def made(scale: float = 1.0, *, edge: bool = True) -> History:
    """Three checkpoints with eigenvalues, of which the last one is missing."""
    quantities = {
        "eig.eigenvalues": Quantity(("eig.rank",), error="eig.error_bounds"),
        "eig.error_bounds": Quantity(("eig.rank",)),
        "eig.cosines": Quantity(("eig.rank",)),
        "flatness.rise": Quantity((), error="flatness.rise_se"),
        "flatness.rise_se": Quantity(),
        "edge": Quantity(),
    }
    history = History(attributes={"edge": "2 / learning rate"})
    for step in (0, 50):
        values = {
            "loss": scale / (step + 1),
            "eig.eigenvalues": scale * np.array([3.0, 1.0]) + step,
            "eig.error_bounds": np.array([0.1, 0.2]),
            "eig.cosines": np.array([0.9, np.nan]),
            "flatness.rise": scale,
            "flatness.rise_se": 0.1,
            **({"edge": 20.0} if edge else {}),
        }
        history = history.with_moment(Moment(step, f"{step}.pt", values), quantities)
    return history.with_values(100, "100.pt", {}, trouble="NaN in weights")


def test_each_quantity_has_its_panel_and_the_missing_step_a_line() -> None:
    count = panel_count(made())
    assert count == 4
    axes = list(Figure().subplots(1, count))
    draw(made(), axes)
    assert [one.get_title() for one in axes] == ["mean loss", "largest eigenvalues", "eigenvectors", "flatness.rise"]
    lines = {line.get_label(): line for line in axes[1].get_lines()}
    assert lines["2 / learning rate"].get_ydata().tolist()[:2] == [20.0, 20.0]
    assert all(any(list(line.get_xdata()) == [100, 100] for line in one.get_lines()) for one in axes)
    first = axes[1].containers[0].lines[0]
    assert first.get_xdata().tolist() == [0, 50, 100]
    assert first.get_ydata().tolist()[:2] == [3.0, 53.0]


def test_critical_sharpness_is_drawn_with_2_over_the_learning_rate() -> None:
    quantities = {
        "critical.critical_sharpness": Quantity((), error="critical.critical_sharpness_se"),
        "critical.critical_sharpness_se": Quantity(),
        "learning_rate": Quantity(),
    }
    history = History()
    for step in (0, 50):
        values = {"critical.critical_sharpness": 3.0, "critical.critical_sharpness_se": 0.1, "learning_rate": 0.5}
        history = history.with_moment(Moment(step, f"{step}.pt", values), quantities)
    assert panel_count(history) == 1
    axes = Figure().subplots()
    draw(history, [axes])
    assert axes.get_title() == "critical sharpness"
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["2 / learning rate"].get_ydata().tolist() == [4.0, 4.0]


def test_runs_are_drawn_over_each_other(tmp_path: Path) -> None:
    histories = [made(), made(2.0, edge=False)]
    numbers = figure.together(histories)
    assert numbers == [("loss", None), ("eig.eigenvalues", 0), ("flatness.rise", None)]
    axes = list(Figure().subplots(1, len(numbers)))
    figure.draw_runs(histories, ["a", "$b"], axes)
    assert axes[1].containers[1].lines[0].get_ydata().tolist()[:2] == [6.0, 56.0]
    figures.save_histories(histories, tmp_path / "two.png", labels=["a", "$b"])
    assert (tmp_path / "two.png").stat().st_size > 5_000


def test_a_run_whose_name_begins_with_an_underscore_stands_in_the_legend() -> None:
    histories = [made(), made(2.0)]
    axes = Figure().subplots(1, len(figure.together(histories)))
    figure.draw_runs(histories, ["_old", "new"], axes)
    assert [text.get_text().strip() for text in axes[0].get_legend().get_texts()] == ["_old", "new"]


def test_nothing_in_common_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing in common"):
        figures.save_histories(
            [made(), History().with_values(0, "a", {"x": 1.0})], tmp_path / "two.png", labels=["a", "b"]
        )
    assert not figures.drawn(History())


def test_an_infinite_error_is_a_long_bar_and_no_overflow() -> None:
    values, errors = np.array([1.0, 40.0, np.nan, 2.0, 3.0]), np.array([0.1, np.inf, np.inf, np.nan, 90.0])
    assert figure.bar_lengths(values, errors).tolist() == [0.1, 40.0, 40.0, 0.0, 90.0]
    assert figure.bar_lengths(np.full(2, np.nan), np.full(2, np.inf)).tolist() == [0.0, 0.0]
