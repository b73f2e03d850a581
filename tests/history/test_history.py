"""A history holds what was put into it, in the order of steps, and comes back from its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_samples import sample_result
from sample_histories import of_samples

import landscape
from landscape.errors import OutputError, UsageError
from landscape.history import History, Moment, Quantity, read_history
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


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    history, path = of_samples(), tmp_path / "run.landscape.h5"
    history.save(path)
    again = landscape.read(path)
    assert isinstance(again, History)
    assert set(again) == set(history)
    for name in history:
        assert np.array_equal(again[name], history[name], equal_nan=again[name].dtype.kind == "f"), name
    assert [moment.sha256 for moment in again.moments] == ["", "bb", ""]
    assert again.run == "runs/sgd"
    more = again.with_results(15, "d.pt", {"sample": sample_result(mass=9.0)}, {"loss": 0.6})
    more.save(path)
    assert read_history(path)["sample.mass"].tolist()[:3] == [2.34567, 9.0, 3.0]
    assert read_history(path)["sample.layer_size"].tolist()[1][:2] == [7, 8]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-5, 10**12), st.lists(st.floats(allow_nan=False), min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    )
)
def test_any_numbers_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, list[float]]]) -> None:
    history = History()
    for number, (step, values) in enumerate(rows):
        moment = Moment(step, f"{number}.pt", {"x.values": np.array(values)})
        history = history.with_moment(moment, {"x.values": Quantity(("x.rank",))})
    path = tmp_path_factory.mktemp("run") / "run.landscape.h5"
    history.save(path)
    again = read_history(path)
    assert again.steps.tolist() == sorted(step for step, _ in rows)
    assert np.array_equal(again["x.values"], history["x.values"], equal_nan=True)
    assert np.isfinite(again["x.values"]).sum() == sum(np.isfinite(values).sum() for _, values in rows)


def test_it_opens_in_xarray_with_and_without_this_package(tmp_path: Path) -> None:
    import xarray

    history, path = of_samples(), tmp_path / "run.landscape.h5"
    history.save(path)
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert data["sample.mass"].sel(step=20) == 3.0
        assert data["sample.layer_size"].sel({"step": 10, "sample.layer": 'a "b", c'}) == 8
    assert history.to_xarray()["sample.mass"].sel(step=10) == 2.34567


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
