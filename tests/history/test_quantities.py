"""Which numbers of a result a history keeps."""

from __future__ import annotations

from result_samples import sample_result
from sample_histories import of_samples

from landscape.history.quantities import quantities_of


def test_printed_columns_and_scalars_are_kept_under_the_name_of_the_analysis() -> None:
    found = quantities_of("sample", sample_result())
    assert set(found) == {
        f"sample.{name}"
        for name in ("radius", "layer", "layer_size", "mass", "mass_error", "length", "length_se", "settled")
    }
    about, value = found["sample.layer_size"]
    assert about.dims == ("sample.layer",)
    assert value.tolist() == [7, 8]
    assert found["sample.layer"][0].words
    assert found["sample.mass"][0].error == "sample.mass_error"
    assert found["sample.length"][0].error == "sample.length_se"
    assert found["sample.mass"][0].unit == "kg"
    assert not found["sample.settled"][0].error


def test_numbers_bear_the_name_of_their_analysis_and_the_loss_stands_once() -> None:
    history = of_samples()
    assert history["sample.mass"].tolist()[:2] == [2.34567, 3.0]
    assert "sample.loss" not in history
    assert history.error_of("sample.mass") is not None
    assert history.error_of("sample.mass")[0] == 0.0123  # type: ignore[index]
    assert history.error_of("loss") is None
    assert "sample.height" not in history  # over `start`, which no table prints
