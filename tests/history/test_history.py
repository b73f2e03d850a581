"""A history holds what was put into it, in the order of steps, and comes back from its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sample_histories import of_samples

import landscape
from landscape.errors import OutputError, UsageError
from landscape.history import History, read_history
from landscape.session import read_measurements


def test_checkpoints_are_in_the_order_of_their_steps() -> None:
    history = of_samples()
    assert history.checkpoints == ["a.pt", "b.pt", "c.pt"]
    assert history.steps.tolist() == [10, 20, 30]
    assert history.steps.dtype == np.int64
    assert history["loss"].tolist()[:2] == [0.75, 0.5]
    assert np.isnan(history["loss"][2])
    assert history["trouble"].tolist() == ["", "sample: it is stuck", "NaN in weights"]


def test_a_checkpoint_that_is_measured_again_takes_the_place_of_its_earlier_self() -> None:
    history = History().with_values(1, "a.pt", {"loss": 1.0}).with_values(2, "a.pt", {"loss": 2.0})
    assert history.steps.tolist() == [2]
    assert history["loss"].tolist() == [2.0]


def test_steps_may_repeat_and_be_fractions_but_must_be_finite() -> None:
    history = History().with_values(0.5, "a.pt", {"loss": 1.0}).with_values(0.5, "b.pt", {"loss": 2.0})
    assert history.steps.tolist() == [0.5, 0.5]
    with pytest.raises(UsageError, match=r"the step of a\.pt is nan"):
        History().with_values(float("nan"), "a.pt", {})


def test_json_has_lists_and_null_for_what_is_missing() -> None:
    document = json.loads(json.dumps(of_samples().to_document(), allow_nan=False))
    assert document["analysis"] == "track"
    assert document["result"]["step"] == [10, 20, 30]
    assert document["result"]["loss"] == [0.75, 0.5, None]
    assert document["result"]["sample.layer_size"][0] == [7, 8, None]


def test_tables_have_a_column_for_each_element() -> None:
    frame = of_samples().to_dataframe()
    assert frame.index.tolist() == [10, 20, 30]
    assert frame['sample.layer_size[a "b", c]'].tolist()[:2] == [8, 80]
    lines = of_samples().to_csv().splitlines()
    assert lines[0].startswith("step,checkpoint,trouble,loss")
    assert len(lines) == 4


def test_a_line_and_a_page_say_what_it_is() -> None:
    assert repr(of_samples()).startswith("<History of runs/sgd: 3 checkpoints, steps 10 to 30, loss 0.75 -> nan")
    assert repr(History()) == "<History: no checkpoints>"
    hostile = of_samples().with_values(40, "<script>x</script>.pt", {"loss": 0.1}, trouble="<b>bad</b>")
    page = hostile._repr_html_()
    assert "<script>" not in page
    assert "<b>bad" not in page
    assert "&lt;script&gt;" in page


def test_unknown_names_are_refused_with_a_near_one() -> None:
    with pytest.raises(KeyError, match=r"los.*loss"):
        of_samples()["los"]


def test_another_file_is_no_history(tmp_path: Path) -> None:
    objective = landscape.load(Path(__file__).parents[2] / "sample_checkpoints/digits-mlp.pt", limit=20)
    path = tmp_path / "a.landscape.h5"
    landscape.run(landscape.Eig(k=1), objective, output=path)
    with pytest.raises(OutputError, match="no history"):
        read_history(path)
    of_samples().save(tmp_path / "b.landscape.h5")
    with pytest.raises(UsageError, match="with each other alone"):
        landscape.compare(path, tmp_path / "b.landscape.h5")
    with pytest.raises(OutputError, match="history of a run"):
        read_measurements(tmp_path / "b.landscape.h5")
