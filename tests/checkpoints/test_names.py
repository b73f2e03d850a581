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


def test_most_of_a_model_is_not_offered_to_be_left_out() -> None:
    """What would be measured were a net with random weights."""
    small, large = {**MODEL, "head.weight": torch.zeros(5, 2)}, {**MODEL, "layers.0.weight": torch.zeros(9, 3)}
    with pytest.raises(CheckpointError, match=r"--partial --ignore head.weight") as caught:
        fit(small, MODEL, "ckpt.pt")
    with pytest.raises(CheckpointError, match=r"layers.0.weight is \(9, 3\)") as caught:
        fit(large, MODEL, "ckpt.pt")
    assert "--ignore" not in caught.value.fix
    assert "--model pkg.mod:factory" in caught.value.fix
    with pytest.raises(CheckpointError, match=r"missing head.weight\n.*--partial"):
        fit({name: MODEL[name] for name in ("layers.0.weight", "layers.0.bias")}, MODEL, "ckpt.pt")
    with pytest.raises(CheckpointError, match=r"missing layers.0.weight\n") as caught:
        fit({name: MODEL[name] for name in ("layers.0.bias", "head.weight")}, MODEL, "ckpt.pt")
    assert "--partial" not in caught.value.fix


def test_a_tied_tensor_may_come_under_one_of_its_names() -> None:
    shared = torch.zeros(3, 2)
    model = {"embed.weight": shared, "head.weight": shared, "bias": torch.zeros(3)}
    found = {"embed.weight": torch.ones(3, 2), "bias": torch.ones(3)}
    fitted, note = fit(found, model, "ckpt.pt")
    assert fitted["head.weight"] is found["embed.weight"]
    assert note == ""
    prefixed, note = fit({f"model.{name}": tensor for name, tensor in found.items()}, model, "ckpt.pt")
    assert prefixed.keys() == model.keys()
    assert "the prefix 'model.'" in note


def test_equal_tensors_that_are_not_tied_may_not() -> None:
    model = {"embed.weight": torch.zeros(3, 2), "head.weight": torch.zeros(3, 2)}
    with pytest.raises(CheckpointError, match="missing head.weight"):
        fit({"embed.weight": torch.ones(3, 2)}, model, "ckpt.pt")


def test_a_counter_that_eval_mode_does_not_use_may_be_missing() -> None:
    model = torch.nn.BatchNorm1d(3).state_dict()
    found = {name: tensor for name, tensor in model.items() if name != "num_batches_tracked"}
    assert fit(found, model, "ckpt.pt")[0].keys() == model.keys()
    with pytest.raises(CheckpointError, match="missing running_mean"):
        fit({name: tensor for name, tensor in found.items() if name != "running_mean"}, model, "ckpt.pt")


def test_what_was_undone_is_said() -> None:
    found = {f"_orig_mod.module.model.{name}": tensor for name, tensor in MODEL.items()}
    assert fit(found, MODEL, "ckpt.pt")[1] == (
        "stripped the wrapper '_orig_mod' and the wrapper 'module' and the prefix 'model.' from ckpt.pt"
    )


def test_empty_tensors_are_not_tied() -> None:
    model = {"a": torch.zeros(0, 3), "b": torch.zeros(0, 3)}
    with pytest.raises(CheckpointError, match="missing b"):
        fit({"a": torch.zeros(0, 3)}, model, "ckpt.pt")


def test_a_model_s_own_part_called_module_is_told_from_the_wrapper() -> None:
    """DataParallel around a model that has a `module` itself: the same shapes, which must not be swapped."""
    model = {"module.weight": torch.zeros(2), "weight": torch.zeros(2)}
    found = {"module.weight": torch.full((2,), 1.0), "module.module.weight": torch.full((2,), 7.0)}
    fitted, note = fit(found, model, "ckpt.pt")
    assert float(fitted["weight"][0]) == 1
    assert float(fitted["module.weight"][0]) == 7
    assert note == "stripped the wrapper 'module' from ckpt.pt"


def test_two_sets_of_weights_are_not_mixed() -> None:
    found = {"model.a": torch.ones(1), "a": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"unexpected model.a"):
        fit(found, {"a": torch.zeros(1)}, "ckpt.pt")


def test_tied_in_the_model_and_different_in_the_checkpoint_is_refused() -> None:
    shared = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"different weights for a and b, which are one tensor"):
        fit({"a": torch.ones(3), "b": torch.zeros(3)}, {"a": shared, "b": shared}, "ckpt.pt")
    fit({"a": torch.ones(3), "b": torch.ones(3)}, {"a": shared, "b": shared}, "ckpt.pt")


def test_a_part_that_fits_alone_is_offered() -> None:
    found = {**{f"net.{name}": tensor for name, tensor in MODEL.items()}, "criterion.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"unexpected criterion.weight.*\n.*--weights 'net.\*'"):
        fit(found, MODEL, "ckpt.pt")


@pytest.mark.parametrize("wrapping", ["model.", "net.", "module.model.", "model.module.", "_orig_mod.model.", "{}"])
def test_a_prefix_is_undone_around_batch_norm_too(wrapping: str) -> None:
    """With its counter or without: what a model understands to be missing has no prefix."""
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = net.state_dict()
    for names in (list(state), [name for name in state if not name.endswith("num_batches_tracked")]):
        found = {f"{wrapping.format('')}{name}": state[name] for name in names}
        assert fit(found, state, "ckpt.pt")[0].keys() == state.keys()


def test_a_part_of_the_model_may_be_compiled_and_the_checkpoint_s_not() -> None:
    model = {"net._orig_mod.weight": torch.zeros(2), "head.weight": torch.zeros(1)}
    fitted, _ = fit({"net.weight": torch.ones(2), "head.weight": torch.ones(1)}, model, "ckpt.pt")
    assert float(fitted["net._orig_mod.weight"][0]) == 1


def test_nan_in_tied_weights_is_no_difference() -> None:
    """It is told where weights are looked at, by its own name."""
    shared, broken = torch.zeros(3), torch.full((3,), torch.nan)
    for found in ({"a": broken, "b": broken.view(3)}, {"a": broken}):
        assert fit(found, {"a": shared, "b": shared}, "ckpt.pt")[0].keys() == {"a", "b"}


def test_many_unexpected_names_of_one_beginning_are_left_out_by_one_glob() -> None:
    averages = {f"ema_{number}_weight": torch.zeros(1) for number in range(9)}
    with pytest.raises(CheckpointError, match=r"or leave them out: --ignore 'ema_\*'"):
        fit({**MODEL, **averages}, MODEL, "ckpt.pt")


def test_the_flags_of_a_remedy_are_typed_as_they_stand() -> None:
    with pytest.raises(CheckpointError, match=r"or leave them out: --ignore one --ignore two$"):
        fit({**MODEL, "one": torch.zeros(1), "two": torch.zeros(1)}, MODEL, "ckpt.pt")


def test_no_remedy_is_cut() -> None:
    model = {f"{number}.weight": torch.zeros(2) for number in range(9)}
    whole = {"large.weight": torch.zeros(99)}
    with pytest.raises(CheckpointError, match="--model-arg key=value$"):
        fit({name: torch.zeros(3) for name in model} | whole, model | whole, "ckpt.pt")


def test_empty_tensors_of_a_sharded_checkpoint_are_said() -> None:
    with pytest.raises(CheckpointError, match=r"head.weight is \(0,\) there.*\n.*zero_to_fp32.py"):
        fit({**MODEL, "head.weight": torch.zeros(0)}, MODEL, "ckpt.pt")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.complex64])
def test_numbers_of_another_kind_are_not_cast(dtype: torch.dtype) -> None:
    found = {**MODEL, "head.weight": torch.ones(1, 2, dtype=dtype)}
    with pytest.raises(CheckpointError, match=r"head.weight is \w+ there and float32 in the.*\n.*scale.*\n.*dequant"):
        fit(found, MODEL, "ckpt.pt")


def test_another_precision_is_cast() -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.float8_e4m3fn):
        assert fit({name: tensor.to(dtype) for name, tensor in MODEL.items()}, MODEL, "ckpt.pt")[1] == ""


def test_parts_that_fit_are_offered_at_any_depth_and_all_of_them() -> None:
    found = {f"policy.{part}.{name}": tensor for part in ("actor", "critic") for name, tensor in MODEL.items()}
    with pytest.raises(
        CheckpointError, match=r"one of the parts.*--weights 'policy.actor.\*' or --weights 'policy.critic.\*'"
    ):
        fit(found, MODEL, "ckpt.pt")
