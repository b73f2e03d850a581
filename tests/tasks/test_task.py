"""Where the model, the data and the loss are found, and what is said when they are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import landscape
from landscape.errors import LandscapeError, TaskError, UsageError

PROJECT = """
import torch
from neighbor import WIDTH

def build(width: int = WIDTH, name: str = "x"):
    torch.manual_seed(0)
    return torch.nn.Linear(width, 2)

def data(count: int = 6):
    return [(torch.ones(count, 3), torch.zeros(count, dtype=torch.long))]

def loss(output, target):
    return ((output - 1) ** 2).mean()

MODEL = build()
NUMBER = 7

def broken():
    raise KeyError("nope")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "neighbor.py").write_text("WIDTH = 3")
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "ckpt.pt")
    return tmp_path


def load(project: Path, **named: object) -> landscape.Objective:
    given = {"model": f"{project}/project.py:build", "data": f"{project}/project.py:data", **named}
    return landscape.load(project / "ckpt.pt", **given)


def test_a_file_of_one_s_own_with_its_neighbors(project: Path) -> None:
    objective = load(project, loss=f"{project}/project.py:loss", data_arg=("count=4",))
    assert objective.batches.samples == 4
    assert objective.loss.name == "loss"
    assert objective.source.resolved_from["model"] == f"{project}/project.py:build, from the call"


def test_a_module_on_the_path(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project))
    assert load(project, model="project:MODEL", data="project:data").space.size == 8


def test_arguments_are_literals_where_they_read_as_such(project: Path) -> None:
    with pytest.raises(LandscapeError, match=r"weight is \(2, 3\) there and \(2, 5\) in the model"):
        load(project, model_arg=("width=5", "name=hello"))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"model": "nosuch"}, r"no model called nosuch\n.*one of mlp, resnet"),
        ({"model": "nosuch.module:build"}, r"nosuch.module cannot be imported: ModuleNotFoundError"),
        ({"model": "{}/none.py:build"}, "there is no file .*none.py"),
        ({"model": "{}/project.py:biuld"}, r"has no biuld \(did you mean build\?\)"),
        ({"model": "{}/project.py:NUMBER"}, "gave a int, not a torch.nn.Module"),
        ({"model": "{}/project.py:broken"}, r"broken\(\) failed: KeyError: 'nope'\n.*--debug"),
        ({"model_arg": ("depth=3",)}, r"build\(depth=3\) failed: TypeError"),
        ({"model_arg": ("depth",)}, r"--model-arg 'depth' is not key=value"),
        ({"data": "digit"}, r"no data called digit \(did you mean digits\?\)"),
        ({"data": "{}/project.py:NUMBER"}, "the data is a int, which cannot be iterated"),
        ({"model": "{}/project.py"}, r"is a file: name a function in it\n.*project.py:FUNCTION"),
        ({"loss": "mes"}, r"no loss called mes \(did you mean mse\?\)"),
        ({"loss": "nosuch.module:fn"}, "cannot be imported"),
    ],
    ids=str,
)
def test_every_mistake_is_told_with_its_remedy(project: Path, named: dict[str, str], message: str) -> None:
    filled = {key: value.format(project) if isinstance(value, str) else value for key, value in named.items()}
    with pytest.raises((TaskError, UsageError), match=message):
        load(project, **filled)


def test_a_model_of_one_s_own_does_not_inherit_the_described_arguments(project: Path) -> None:
    spec = {"model": "mlp", "model_args": {"sizes": [3, 2]}}
    landscape.save(project / "ckpt.pt", torch.nn.Linear(3, 2), data=(torch.ones(2, 3), torch.tensor([0, 1])), spec=spec)
    assert landscape.load(project / "ckpt.pt", model=f"{project}/project.py:build").space.size == 8


def test_a_file_with_dataclasses_and_postponed_annotations_imports(project: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    x: int = 3\n"
    )
    (project / "shapes.py").write_text(text + "import torch\ndef build(): return torch.nn.Linear(C().x, 2)")
    assert load(project, model=f"{project}/shapes.py:build").space.size == 8


def test_no_file_of_the_working_directory_stands_in_for_a_library(project: Path) -> None:
    """Neither without a flag nor after the user's own module was imported."""
    (project / "pyhessian.py").write_text("open('ran', 'w')")
    described = project / "described.pt"
    landscape.save(described, torch.nn.Linear(3, 2), data=(torch.ones(2, 3), torch.tensor([0, 1])))
    running = []
    for folder, model in (("a/", "project.py:build"), ("b/", "project:build")):
        words = ["eig", str(described), "-k", "1", "--model", model, "-o", folder]
        command = f"from landscape_cli.main import status; import sys; sys.exit(status({words}))"
        running.append(subprocess.Popen([sys.executable, "-P", "-c", command], cwd=project))
    assert [process.wait() for process in running] == [0, 0]
    assert not (project / "ran").exists()


def test_objects_in_place_of_names_are_sent_to_objective(project: Path) -> None:
    with pytest.raises(UsageError, match=r"takes the model, data by name\n.*landscape.Objective"):
        landscape.load(project / "ckpt.pt", model=torch.nn.Linear(3, 2), data=[])


def test_all_that_is_missing_is_asked_for_at_once(project: Path) -> None:
    with pytest.raises(
        TaskError, match=r"which model and which data .*\n.*\n.*--model model.py:build --data data.py:batches"
    ) as e:
        landscape.load(project / "ckpt.pt", loss="mse")
    assert "--loss mse" in str(e.value)


def test_narrow_weights_are_said(project: Path) -> None:
    torch.save(torch.nn.Linear(3, 2).half().state_dict(), project / "ckpt.pt")
    assert "float16 weights are computed in float32" in load(project).notes


def test_a_file_with_a_syntax_error_is_said(project: Path) -> None:
    (project / "project.py").write_text("def build(:")
    with pytest.raises(TaskError, match=r"cannot be imported: SyntaxError"):
        load(project)


def test_a_state_dict_alone_asks_for_the_model(project: Path) -> None:
    with pytest.raises(TaskError, match="does not say which model it belongs to"):
        landscape.load(project / "ckpt.pt", data="digits")
