"""Wrappers' prefixes are undone; what still does not fit is refused with the nearest names."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.checkpoints import fit
from landscape.errors import CheckpointError

MODEL = {"layers.0.weight": torch.zeros(2, 3), "layers.0.bias": torch.zeros(2), "head.weight": torch.zeros(1, 2)}
WRAPPERS = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]


@given(
    st.lists(st.sampled_from(WRAPPERS), max_size=2),
    st.sampled_from(["", *WRAPPERS]),
    st.sampled_from(["", "model.", "net.", "backbone."]),
)
def test_any_wrapping_is_undone(outer: list[str], inner: str, prefix: str) -> None:
    def wrapped(name: str) -> str:
        first, *rest = name.split(".")
        return prefix + ".".join([*outer, first, *([inner] if inner else []), *rest])

    fitted, note = fit({wrapped(name): tensor for name, tensor in MODEL.items()}, MODEL, "ckpt.pt")
    assert fitted.keys() == MODEL.keys()
    assert bool(note) == bool(outer or inner or prefix)


def test_a_name_that_the_model_itself_has_is_left_alone() -> None:
    own = {"module.weight": torch.zeros(1)}
    assert fit(own, own, "ckpt.pt") == (own, "")


def test_missing_and_unexpected_names_are_listed_with_the_nearest() -> None:
    found = {("heads.weight" if name == "head.weight" else name): tensor for name, tensor in MODEL.items()}
    with pytest.raises(
        CheckpointError,
        match=r"missing head.weight \(did you mean heads.weight\?\); unexpected heads.weight\n.*--model",
    ):
        fit(found, MODEL, "ckpt.pt")


def test_another_shape_names_both() -> None:
    found = {**MODEL, "head.weight": torch.zeros(5, 2)}
    with pytest.raises(
        CheckpointError, match=r"head.weight is \(5, 2\) there and \(1, 2\) in the model\n.*--model-arg"
    ):
        fit(found, MODEL, "ckpt.pt")
