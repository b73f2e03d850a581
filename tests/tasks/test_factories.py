"""Names become calls without arguments; a name from inside a file is imported from trusted modules only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from landscape.errors import TaskError, UsageError
from landscape.tasks.factories import ObjectName, data_factory, in_trusted_module, parse_arguments


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # another test may have imported a module of that name
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def data(rows=2):\n"
        "    return torch.zeros(rows, 3)\n"
        "fixed = torch.nn.Linear(2, 2)\n"
        "def broken():\n"
        "    raise RuntimeError('no disk')\n"
        "def absolute(output, target):\n"
        "    return (output - target).abs().mean(dim=1)\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_factory_is_called_with_its_arguments_when_it_is_used(project: Path) -> None:
    make = ObjectName("data", "mine.py:data", by_user=True).factory({"rows": 5})
    assert make().shape == (5, 3)


def test_an_object_that_is_no_factory_is_returned_itself(project: Path) -> None:
    assert isinstance(ObjectName("model", "mine.py:fixed", by_user=True).factory({})(), torch.nn.Linear)


def test_errors_of_the_user_s_factory_name_the_call(project: Path) -> None:
    make = ObjectName("data", "mine.py:broken", by_user=True).factory({})
    with pytest.raises(TaskError, match=r"data factory mine.py:broken\(\) failed: RuntimeError: no disk"):
        make()


def test_registered_names_serve_files_and_users_alike() -> None:
    for by_user in (True, False):
        assert ObjectName("model", "mlp", by_user).factory({"sizes": (3, 2)})()[0].in_features == 3


def test_a_name_from_inside_a_file_is_imported_from_trusted_modules_only(project: Path) -> None:
    with pytest.raises(TaskError, match=r"called mine:data, which a.pt names\n.*never imported"):
        ObjectName("data", "mine:data", by_user=False, where="a.pt").factory({})
    trusted = ObjectName("data", "mine:data", by_user=False, where="a.pt", trusted=("mine",))
    assert trusted.factory({})().shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        ("mine:data", True),
        ("mine.inner:data", True),
        ("mineral:data", False),
        ("other:data", False),
        ("../mine:data", False),
        ("mine/../../evil:data", False),
        (":data", False),
    ],
)
def test_trust_covers_a_module_and_those_below_it(name: str, trusted: bool) -> None:
    assert in_trusted_module(name, ("mine",)) is trusted


def test_a_loss_may_be_registered_imported_or_the_model_s_own(project: Path) -> None:
    assert ObjectName("loss", "hf", by_user=False).loss() == "hf"
    imported = ObjectName("loss", "mine.py:absolute", by_user=True).loss()
    built_in = ObjectName("loss", "mse", by_user=False).loss()
    assert not isinstance(imported, str)
    assert not isinstance(built_in, str)
    output, target = torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2)
    assert float(imported.total(output, target)) == 2.0
    assert float(built_in.total(output, target)) / built_in.count(target) == pytest.approx(5.0)


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(TaskError, match=r"no model called mpl.*mlp"):
        ObjectName("model", "mpl", by_user=True).factory({})


def test_arguments_are_literals_where_they_read_as_such_and_override_the_defaults() -> None:
    pairs = ("sizes=(3, 2)", "activation=relu", "rate=1e-3", "name='7'", "text=a=b")
    assert parse_arguments("--model-arg", pairs, {"activation": "tanh", "kept": 1}) == {
        "sizes": (3, 2), "activation": "relu", "rate": 1e-3, "name": "7", "text": "a=b", "kept": 1,
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["width", "=3", "two words=3"])
def test_a_pair_of_another_form_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match=r"--data-arg .* is not key=value"):
        parse_arguments("--data-arg", (pair,), {})


def test_data_named_by_the_user_take_a_population_s_arguments() -> None:
    batches = data_factory("digits", ("split=test",))()
    assert sum(len(labels) for _, labels in batches) == 497
