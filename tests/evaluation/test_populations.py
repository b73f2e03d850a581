"""Populations: the checkpoint's own, and those that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLES, tanh_net

import landscape
from landscape import Objective
from landscape.checkpoints import Checkpoint, Spec
from landscape.conditions import Conditions
from landscape.errors import TaskError, UsageError
from landscape.evaluation.populations import population, populations, sample_digests
from landscape.tasks.task import find_task


def test_the_checkpoint_names_its_own_and_they_share_model_and_loss() -> None:
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    every = populations(objective)
    assert list(every) == ["clean", "held-out", "memorized", "never-seen", "truth"]
    sizes = {name: one.batches.samples for name, one in every.items()}
    assert sizes == {"clean": 1170, "held-out": 497, "memorized": 130, "never-seen": 124, "truth": 130}
    assert all(one.theta is objective.theta and one.loss is objective.loss for one in every.values())
    assert every["memorized"].count == 130
    assert populations(objective)["clean"] is every["clean"]  # read once


def test_the_parts_of_the_noisy_digits_are_what_their_names_say() -> None:
    every = populations(landscape.load(SAMPLES / "digits-noisy.pt"))
    own = {name: set(sample_digests(one)) for name, one in every.items()}
    data = set(sample_digests(landscape.load(SAMPLES / "digits-noisy.pt")))
    assert own["memorized"] | own["clean"] == data
    assert not own["truth"] & data
    assert not (own["held-out"] | own["never-seen"]) & data
    inputs = [torch.cat([batch.inputs for batch in every[name].batches]) for name in ("memorized", "truth")]
    assert torch.equal(*inputs)


def test_named_ones_take_arguments_and_replace_the_checkpoint_s(tmp_path: Path) -> None:
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    every = populations(objective, ("clean=digits,split=test,standardized=True", "mine=digits,standardized=True"))
    assert every["clean"].batches.samples == 497
    assert every["mine"].batches.samples == 1300
    code = "import torch\ndef few():\n    return [(torch.zeros(3, 64), torch.zeros(3, dtype=torch.long))]\n"
    (tmp_path / "few.py").write_text(code)
    assert populations(objective, (f"x={tmp_path / 'few.py'}:few",))["x"].batches.samples == 3


@pytest.mark.parametrize("word", ["clean", "=digits", "clean=", "data=digits"])
def test_a_word_of_another_form_is_refused(word: str) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    with pytest.raises(UsageError, match="is not NAME=DATA"):
        populations(objective, (word,))


def test_what_fails_is_named() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    with pytest.raises(TaskError, match="there is no data called digts"):
        populations(objective, ("a=digts",))
    with pytest.raises(TaskError, match="population a: .*no_such_argument"):
        populations(objective, ("a=digits,no_such_argument=1",))
    with pytest.raises(UsageError, match=r"--factors-on.*\n.*one of data, held-out"):
        population(populations(objective), objective, "held-ut", "--factors-on")


def test_a_hostile_description_causes_no_import() -> None:
    data = (torch.zeros(2, 5), torch.zeros(2, dtype=torch.long))
    hostile: dict[str, Any] = {"a": {"data": "os:system"}, "b": ["x"], "c": {"data": 3}}
    spec = Spec(model="mlp", data="digits", populations=hostile)
    checkpoint = Checkpoint(Path("evil.pt"), sha256="", format="torch", tensors={}, spec=spec)
    made = find_task(checkpoint, Conditions()).populations
    objective = Objective(tanh_net(), data, "cross_entropy", populations=made)
    with pytest.raises(TaskError, match="population a: there is no data called os:system"):
        populations(objective)
    for name in ("b", "c"):
        with pytest.raises(TaskError, match=f"describes its population {name} wrongly"):
            made[name]()


def test_populations_given_in_python_are_data_or_make_it() -> None:
    x, y = torch.randn(6, 5), torch.randint(0, 3, (6,))
    objective = Objective(
        tanh_net(), (x, y), "cross_entropy", populations={"a": (x[:2], y[:2]), "b": lambda: [(x[2:], y[2:])]}
    )
    assert [one.batches.samples for one in populations(objective).values()] == [2, 4]


def test_one_called_data_or_of_another_shape_is_refused_by_name() -> None:
    x, y = torch.randn(6, 5), torch.randint(0, 3, (6,))
    with pytest.raises(TaskError, match="a population is called data"):
        populations(Objective(tanh_net(), (x, y), "cross_entropy", populations={"data": (x, y)}))
    with pytest.raises(TaskError, match="population odd: the model or the loss fails"):
        populations(Objective(tanh_net(), (x, y), "cross_entropy", populations={"odd": (x[:, :3], y)}))
