"""Populations: the checkpoint's own, and those that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net

import landscape
from landscape import Objective
from landscape.analyses import Memorization
from landscape.checkpoints import Checkpoint, Spec
from landscape.conditions import Conditions
from landscape.errors import TaskError, UsageError
from landscape.evaluation.populations import population, populations, sample_digests
from landscape.tasks.task import find_task
from landscape_cli.main import status


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


class TestPartsOfTheData:
    """`by`: the samples of the data by their class or a column, as populations."""

    DATA = """
import torch
x, y = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
words = ["clean" if n % 2 else "memorized" for n in range(60)]
def every():
    return [(x[:40], y[:40]), (x[40:], y[40:])]
def only(value):
    return [(x[y == value], y[y == value])]
"""

    @pytest.fixture
    def objective(self, tmp_path: Path) -> Objective:
        (tmp_path / "data.py").write_text(self.DATA)
        torch.save(tanh_net().state_dict(), tmp_path / "net.pt")
        (tmp_path / "net.py").write_text("from conftest import tanh_net as build\n")
        names = {"model": f"{tmp_path / 'net.py'}:build", "data": f"{tmp_path / 'data.py'}:every"}
        return landscape.load(tmp_path / "net.pt", **names, loss="cross_entropy")

    def test_classes_are_the_populations_that_a_user_would_name(self, objective: Objective, tmp_path: Path) -> None:
        every = populations(objective, by="class")
        by_hand = populations(objective, [f"class-{n}={tmp_path / 'data.py'}:only,value={n}" for n in range(3)])
        assert list(every) == list(by_hand) == ["class-0", "class-1", "class-2"]
        for name, one in every.items():
            assert one.batches.sha256 == by_hand[name].batches.sha256
            assert one.count == by_hand[name].count == 20
            assert float(one.value()) == pytest.approx(float(by_hand[name].value()), rel=1e-7)
        assert sum(float(one.value()) for one in every.values()) / 3 == pytest.approx(
            float(objective.value()), rel=1e-6
        )

    def test_a_measurement_of_them_is_that_of_the_named_ones(self, objective: Objective, tmp_path: Path) -> None:
        named = tuple(f"class-{n}={tmp_path / 'data.py'}:only,value={n}" for n in range(3))
        results = [Memorization(scores=False, **options) for options in ({"by": "class"}, {"population": named})]
        one, other = (landscape.run(analysis, objective) for analysis in results)
        assert one.population.tolist() == ["class-0", "class-1", "class-2"]
        assert np.allclose(one.delta_loss, other.delta_loss, rtol=1e-5, atol=1e-7)
        assert results[0].ingredients(objective) == results[1].ingredients(objective)

    def test_words_of_a_column_have_their_meaning(self) -> None:
        x, y = torch.randn(6, 5), torch.arange(6) % 3
        data = [{"x": x, "y": y, "population": ["memorised", "clean", "clean"] * 2}]

        def losses(model: Any, batch: Any) -> Any:
            return torch.nn.functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

        objective = Objective(tanh_net(), data, objective=losses)
        assert {n: one.batches.samples for n, one in populations(objective, by="population").items()} == {
            "clean": 4,
            "memorized": 2,
        }

    def test_population_without_such_a_column_is_what_is_named_anyway(self) -> None:
        objective = landscape.load(SAMPLES / "digits-noisy.pt")
        assert list(populations(objective, by="population")) == list(populations(objective))
        with pytest.raises(UsageError, match="no column of that name"):
            populations(Objective(tanh_net(), (torch.ones(2, 5), torch.tensor([0, 1]))), by="population")

    def test_names_do_not_collide(self, objective: Objective, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"a value called class-1, as another population is"):
            populations(objective, [f"class-1={tmp_path / 'data.py'}:every"], by="class")

    def test_batches_that_must_stay_whole_have_no_parts(self) -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3, track_running_stats=False))
        objective = Objective(net, (torch.randn(12, 5), torch.arange(12) % 3), "cross_entropy")
        with pytest.raises(TaskError, match=r"a part of the samples would cut batches"):
            populations(objective, by="class")

    def test_commands_without_populations_say_which_have_them(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert status(["density", str(SAMPLES / "digits-mlp.pt"), "--by", "class"]) == 2
        assert "--by is an option of landscape eig, landscape trace" in capsys.readouterr().err
