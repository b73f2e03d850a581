"""Weights are selected by a word or a location, and a choice is never made in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landscape.checkpoints import read
from landscape.errors import CheckpointError

RAW = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
EMA = {name: tensor + 1 for name, tensor in RAW.items()}


def choose(tmp_path: Path, content: Any, weights: str | None = None) -> tuple[float, tuple[str, ...]]:
    """The value that the chosen weights are filled with, and what was said."""
    torch.save(content, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt", weights=weights)
    assert checkpoint.tensors.keys() == RAW.keys()
    return float(checkpoint.tensors["bias"][0]), checkpoint.notes


@pytest.mark.parametrize("nest", ["state_dict", "model_state_dict", "model", "net", "network", "params", "weights"])
def test_usual_nests_need_no_word(nest: str, tmp_path: Path) -> None:
    assert choose(tmp_path, {"epoch": torch.tensor(3), nest: RAW, "optimizer": {"state": EMA}}) == (0, ())


def test_a_nest_in_a_nest(tmp_path: Path) -> None:
    assert choose(tmp_path, {"model": {"state_dict": RAW, "step": torch.tensor(1)}}) == (0, ())


def test_the_only_nest_of_another_name_is_taken_and_said(tmp_path: Path) -> None:
    assert choose(tmp_path, {"my_policy": RAW, "epoch": 3}) == (0, ("the weights in my_policy",))


def test_of_two_usual_nests_the_first_is_taken_and_the_other_named(tmp_path: Path) -> None:
    value, notes = choose(tmp_path, {"net": EMA, "model": RAW})
    assert value == 0
    assert notes == ("the weights in model; also there: net (--weights)",)


def test_of_several_sets_none_is_taken(tmp_path: Path) -> None:
    content = {"generator": RAW, "discriminator": EMA}
    with pytest.raises(CheckpointError, match=r"several sets.*\n.*--weights generator, --weights discriminator"):
        choose(tmp_path, content)
    assert choose(tmp_path, content, "discriminator") == (1, ("the weights in discriminator",))


def put(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "content",
    [
        {"model": RAW, "model_ema": EMA},
        {"state_dict": RAW, "state_dict_ema": EMA},
        {"state_dict": RAW, "callbacks": {}, "ema": {"module": {f"module.{n}": t for n, t in EMA.items()}}},
        {"state_dict": RAW, "swa_model": {"n_averaged": torch.tensor(4), **EMA}},
        {**RAW, **{f"ema_model.{name}": tensor for name, tensor in EMA.items()}},
        {"current_model_state": RAW, "state_dict": EMA, "averaging_state": {"n_averaged": torch.tensor(4)}},
        {"model": RAW, "ema_state": EMA},
        {"g": RAW, "g_ema": EMA},
        put("online_model.", RAW) | put("ema_model.", EMA) | {"initted": torch.tensor(True), "step": torch.tensor(4)},
        {"model": RAW, "ema": put("online_model.", RAW) | put("ema_model.", EMA) | {"step": torch.tensor(4)}},
    ],
    ids=[
        *("model_ema", "state_dict_ema", "nested", "swa", "by-prefix", "lightning", "ema_state", "g_ema"),
        *("online", "average-with-online"),
    ],
)
def test_averaged_weights_are_offered_and_chosen_by_name(content: dict[str, Any], tmp_path: Path) -> None:
    value, notes = choose(tmp_path, content)
    assert value == 0
    assert "--weights ema measures them" in notes[-1]
    torch.save(content, tmp_path / "b.pt")
    tensors = read(tmp_path / "b.pt", weights="ema").tensors
    assert {float(tensor.max()) for tensor in tensors.values()} == {1.0}
    assert choose(tmp_path, content, "raw")[0] == 0


def test_averaged_weights_alone_are_taken_and_said(tmp_path: Path) -> None:
    torch.save({"n_averaged": torch.tensor(4), **{f"module.{name}": t for name, t in EMA.items()}}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.notes == ("the only weights are averaged ones",)
    assert set(checkpoint.tensors) == {"module.weight", "module.bias"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("ema", r"holds no averaged weights\n.*looked for model_ema.*\n.*--weights model"),
        ("generater", r"no weights called generater\n.*--weights model"),
    ],
    ids=["ema", "name"],
)
def test_weights_that_are_not_there_are_said(weights: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        choose(tmp_path, {"model": RAW}, weights)


def test_names_that_command_a_terminal_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="names that cannot be printed") as refusal:
        choose(tmp_path, {"weight\x1b[2J": torch.ones(1)})
    assert "\x1b" not in str(refusal.value)


def test_a_part_of_the_weights_is_chosen_by_the_beginning_of_its_names(tmp_path: Path) -> None:
    content = {"state_dict": {**{f"net.{name}": t for name, t in EMA.items()}, "criterion.weight": torch.ones(3)}}
    value, notes = choose(tmp_path, content, "net.*")
    assert value == 1
    assert notes == ("the weights whose names begin with net.; 1 others left out",)
    with pytest.raises(CheckpointError, match=r"begin with nut.\n.*begin with net, criterion"):
        choose(tmp_path, content, "nut.*")


def test_a_model_s_own_part_called_ema_is_no_average(tmp_path: Path) -> None:
    content = {"ema.weight": torch.ones(2), "body.weight": torch.ones(2)}
    torch.save(content, tmp_path / "a.pt")
    assert set(read(tmp_path / "a.pt").tensors) == set(content)


@pytest.mark.parametrize(
    "content", [{"G": RAW, "D": EMA, "best": torch.ones(())}, {"student": RAW, "step": torch.ones(())}]
)
def test_a_loose_tensor_beside_nests_is_no_weight(content: dict[str, Any], tmp_path: Path) -> None:
    if "G" in content:
        with pytest.raises(CheckpointError, match="--weights G, --weights D"):
            choose(tmp_path, content)
    else:
        assert choose(tmp_path, content) == (0, ("the weights in student",))


def test_places_with_dots_are_found(tmp_path: Path) -> None:
    assert choose(tmp_path, {"model": RAW, "ema": {"0.999": EMA}}, "ema")[0] == 1


def test_raw_weights_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"averaged weights only, no raw ones\n.*--weights ema"):
        choose(tmp_path, {"model_ema": EMA}, "raw")


def test_one_part_in_a_thousand_places_is_looked_at_once(tmp_path: Path) -> None:
    part: dict[str, Any] = {"deep": RAW}
    for _ in range(3):
        part = {f"k{place}": part for place in range(400)}
    torch.save(part, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt").tensors.keys() == RAW.keys()


def test_loose_tensors_beside_a_usual_nest_are_no_weights(tmp_path: Path) -> None:
    loose = {
        "epoch": torch.tensor(3),
        "rng_state": torch.get_rng_state(),
        "cuda_rng": torch.ones(3),
        "more": torch.ones(1),
    }
    assert choose(tmp_path, {"model": RAW, **loose}) == (0, ())


class Net:
    """A model as an object: its weights are in its state."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.parameters = state


class Settings:
    """An object without tensors."""

    def __init__(self) -> None:
        self.lr = 0.1


@pytest.mark.parametrize(
    ("content", "weights", "location", "remedy"),
    [
        ({"model": Net(RAW), "ema": EMA}, None, "model", "--weights ema"),
        ({"model": Net(RAW), "ema": EMA}, "raw", "model", "--weights ema"),
        ({"model": Net(RAW), "policy": EMA}, None, "model", "--weights policy"),
        ({"model": Net(RAW), "step": torch.ones(()), "best": torch.ones(())}, None, "model", "--weights raw"),
        ({"run": {"model": Net(RAW)}}, None, "run.model", "re-save"),
        ({"state_dict": RAW, "ema": Net(EMA)}, "ema", "ema", "--weights state_dict"),
        ({"state_dict": RAW, "model": Net(EMA)}, "model", "model", "--weights state_dict"),
    ],
    ids=["average", "raw", "other", "loose", "nested", "ema", "by-name"],
)
def test_weights_inside_an_object_are_refused_where_they_are_wanted(
    content: Any, weights: str | None, location: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"inside a Python object: {location} is a .*Net\n.*\n.*{remedy}"):
        choose(tmp_path, content, weights)


@pytest.mark.parametrize(
    ("content", "weights", "value"),
    [
        ({"model": Net(RAW), "ema": EMA}, "ema", 1),
        ({"state_dict": RAW, "model": Net(EMA)}, None, 0),
        ({"state_dict": RAW, "ema": Net(EMA)}, None, 0),
        ({"model": Settings(), "policy": RAW}, None, 0),
        ({"state_dict": RAW, "hyper_parameters": {"model": Net(EMA), "criterion": torch.nn.ReLU()}}, None, 0),
        ({"model": Net(RAW), **EMA}, "raw", 1),
    ],
    ids=["asked", "plain-beside", "ema-beside", "settings", "hyper-parameters", "top"],
)
def test_an_object_beside_the_wanted_weights_is_passed_over(
    content: Any, weights: str | None, value: float, tmp_path: Path
) -> None:
    found, notes = choose(tmp_path, content, weights)
    assert found == value
    assert any("passed over" in note for note in notes)


def test_objects_in_the_places_of_tensors_are_kept_by_name(tmp_path: Path) -> None:
    torch.save({"state_dict": {**RAW, "scale": Settings()}}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.tensors.keys() == RAW.keys()
    assert list(checkpoint.unread) == ["scale"]


def test_a_tensor_whose_name_is_an_object_is_refused(tmp_path: Path) -> None:
    """Its class decides whether it equals another name, which would then have its tensor."""
    content = {**RAW, np.str_("other"): torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"could change: a name is a numpy.*scalar\n.*\n.*str\(name\)"):
        choose(tmp_path, content)


SETS = {
    "encoder": {"w": torch.zeros(2)},
    "decoder": {"w": torch.ones(2), "b": torch.ones(2)},
    "other": {"w": torch.ones(3)},
}


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        ("encoder,decoder", {"encoder.w", "decoder.w", "decoder.b"}),
        ("encoder, other", {"encoder.w", "other.w"}),
        ("net.enc=encoder,=decoder", {"net.enc.w", "w", "b"}),
        ("part=encoder", {"part.w"}),
    ],
)
def test_several_sets_keep_their_names_in_front(weights: str, names: set[str], tmp_path: Path) -> None:
    torch.save(SETS, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt", weights=weights)
    assert checkpoint.tensors.keys() == names
    assert "tensors of" in checkpoint.notes[0]


def test_several_prefixes_of_one_state_dict_are_kept(tmp_path: Path) -> None:
    names = ["encoder.w", "decoder.w", "criterion.w"]
    torch.save({"state_dict": {name: torch.ones(1) for name in names}}, tmp_path / "a.pt")
    assert list(read(tmp_path / "a.pt", weights="encoder.*,decoder.*").tensors) == names[:2]
    assert list(read(tmp_path / "a.pt", weights="a=encoder.*,decoder.*").tensors) == ["a.w", "decoder.w"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("encoder,encodr", r"no weights called encodr"),
        ("encoder,", r"--weights , is no set"),
        ("encoder,ema", r"--weights ema is no set of weights among several"),
        ("=encoder,=decoder", r"gives two tensors one name: w\n.*encoder=SET"),
        ("a=", r"--weights a= is no set"),
    ],
)
def test_several_sets_that_cannot_be_taken_together_are_said(weights: str, message: str, tmp_path: Path) -> None:
    torch.save(SETS, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "a.pt", weights=weights)


def test_a_location_with_a_comma_is_one_location(tmp_path: Path) -> None:
    assert choose(tmp_path, {"a,b": RAW, "c": EMA}, "a,b") == (0, ("the weights in a,b",))


def test_ignored_tensors_are_left_out_and_named(tmp_path: Path) -> None:
    content = {"state_dict": {**RAW, "criterion.weight": torch.ones(3), "criterion.center": Settings()}}
    torch.save(content, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt", ignore=["criterion.*"])
    assert checkpoint.tensors.keys() == RAW.keys()
    assert not checkpoint.unread
    assert "ignored 2 of its tensors: criterion.center, criterion.weight" in checkpoint.notes


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (["critreion.*"], r"--ignore critreion.\* matches no tensor of .*\n.*weight, bias"),
        (["bias", "nothing"], "--ignore nothing matches no tensor"),
        (["*"], "leaves no tensors"),
    ],
)
def test_a_glob_that_leaves_out_nothing_or_everything_is_an_error(
    ignore: list[str], message: str, tmp_path: Path
) -> None:
    torch.save(RAW, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "a.pt", ignore=ignore)


def test_an_ignored_tensor_of_another_kind_is_not_read(tmp_path: Path) -> None:
    torch.save({**RAW, "table": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt", ignore=["table"]).tensors.keys() == RAW.keys()


def test_a_set_where_weights_are_not_looked_for_is_taken_by_its_location(tmp_path: Path) -> None:
    content = {"state_dict": RAW, "callbacks": {"EMA": {"ema_state": EMA, "decay": 0.9}}}
    assert choose(tmp_path, content, "callbacks.EMA.ema_state") == (1, ("the weights in callbacks.EMA.ema_state",))
    with pytest.raises(CheckpointError, match="no weights called callbacks.EMA.decay"):
        choose(tmp_path, content, "callbacks.EMA.decay")


BOTH = {"state_dict": put("model.", RAW) | put("ema.module.", EMA) | {"ema.n_averaged": torch.tensor(4)}}


@pytest.mark.parametrize(
    ("content", "weights", "names", "value"),
    [
        ({"student": put("net.", RAW), "teacher": put("net.", EMA)}, "teacher.net.*", {"weight", "bias"}, 1),
        ({"model": put("net.", RAW), "teacher": put("net.", EMA)}, "net.*", {"weight", "bias"}, 0),
        (BOTH, "ema.*", {"module.weight", "module.bias"}, 1),
        (BOTH, "state_dict.ema.*", {"module.weight", "module.bias"}, 1),
        (put("online_model.", RAW) | put("ema_model.", EMA), "online_model.*", {"weight", "bias"}, 0),
    ],
    ids=["of-a-location", "of-the-usual", "average", "average-by-location", "online"],
)
def test_a_part_of_any_set_is_chosen(
    content: dict[str, Any], weights: str, names: set[str], value: float, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "a.pt")
    tensors = read(tmp_path / "a.pt", weights=weights).tensors
    assert tensors.keys() == names
    assert {float(tensor.max()) for tensor in tensors.values()} == {float(value)}


def test_weights_and_their_averages_are_taken_together_by_name(tmp_path: Path) -> None:
    torch.save(BOTH, tmp_path / "a.pt")
    tensors = read(tmp_path / "a.pt", weights="model.*,ema.*").tensors
    assert tensors.keys() == BOTH["state_dict"].keys() - {"ema.n_averaged"}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "model.", "module.model."])
def test_tensors_are_ignored_by_the_names_that_errors_give_them(prefix: str, tmp_path: Path) -> None:
    torch.save({"state_dict": put(prefix, {**RAW, "head.weight": torch.ones(3)})}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt", ignore=["head.*"]).tensors.keys() == put(prefix, RAW).keys()


def test_a_part_is_chosen_by_the_name_that_errors_give_it(tmp_path: Path) -> None:
    torch.save({"state_dict": put("module.query.", RAW) | put("module.key.", EMA)}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt", weights="query.*").tensors.keys() == RAW.keys()
