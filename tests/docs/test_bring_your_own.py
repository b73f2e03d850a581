"""Every example of docs/bring-your-own.md runs, prints what the page shows, and is right."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import plain_objectives as plain
import pytest
import torch
from conftest import ROOT

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "bring-your-own.md").read_text()
SECTION = re.compile(r"^## (?P<title>.*?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.-]+\.py)\n")
SHOWN = re.compile(r"^ +\d+ +(-?[\d.]+(?:e-?\d+)?) ", re.MULTILINE)  # a line of a table of eigenvalues


@dataclass(frozen=True)
class Example:
    """An example of the page: its file, its commands, and the numbers that it shows."""

    file: str
    code: str
    commands: tuple[str, ...]
    shown: tuple[float, ...]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.file.removesuffix(".py")

    @property
    def eig(self) -> list[str]:
        """The arguments of the first measurement, without its name."""
        (first, *_) = [shlex.split(line)[2:] for line in self.commands if line.startswith("landscape eig")]
        return first


def examples() -> list[Example]:
    """The examples of the page, in order: the sections whose first block names its file."""
    found = []
    for section in SECTION.finditer(PAGE):
        blocks = BLOCK.findall(section["text"])
        named = [(match[1], text) for kind, text in blocks if kind == "python" and (match := FILE.match(text))]
        if not named:
            continue
        ((file, code),) = named
        commands = tuple(line for kind, text in blocks if kind == "bash" for line in text.splitlines())
        shown = tuple(float(n) for kind, text in blocks if kind == "text" for n in SHOWN.findall(text))
        found.append(Example(file, code, commands, shown))
    return found


EXAMPLES = {example.name: example for example in examples()}
ORACLES: dict[str, tuple[str, str, Callable[[Any, Any], plain.Terms]]] = {  # the model, the data, the terms
    "pinn": ("build", "points", plain.pinn),
    "contrastive": ("build", "views", plain.contrastive),
    "graph": ("GraphNet", "graphs", plain.graph),
    "detection": ("Detector", "images", plain.detection),
    "vae": ("VAE", "samples", plain.vae),
    "ppo": ("ActorCritic", "rollouts", plain.ppo),
    "segmentation": ("build", "images", plain.segmentation),
    "lora": ("build", "batches", plain.classification),
    "mmengine_style": ("build", "batches", plain.classification),
}
OPTIONAL = {"language_model": ("transformers", "tokenizers")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all examples, and the checkpoints that they make."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    """An example whose checkpoint exists, in the working directory."""
    made: Example = EXAMPLES[request.param]
    for module in OPTIONAL.get(made.name, ()):
        pytest.importorskip(module)
    monkeypatch.chdir(folder)
    if not (folder / made.file).exists():
        (folder / made.file).write_text(made.code)
        runpy.run_path(made.file, run_name="__main__")
    for name, value in runpy.run_path(made.file).items():  # what a pickle names in the script that made it
        if isinstance(value, type):
            monkeypatch.setattr(f"__main__.{name}", value, raising=False)
    return made


def answer(example: Example, file: str) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """The means of the terms at the checkpoint, in float64, and the parameters that they are differentiated in."""
    namespace = runpy.run_path(example.file)
    if example.name == "language_model":
        return plain.language_model(namespace["TEXT"], file)
    factory, data, terms = ORACLES[example.name]
    model = namespace[factory]()
    held = torch.load(file, weights_only=False)
    weights = held.get("state_dict", held)
    model.load_state_dict(weights, strict=set(weights) == set(model.state_dict()))
    model.double()
    measured = [p for name, p in model.named_parameters() if name in weights]
    return dict(terms(model, plain.double(namespace[data]()))), measured


def measure(analysis: str, flags: list[str], capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    """The result of an analysis in float64."""
    capsys.readouterr()
    arguments = [analysis, *flags, "--dtype", "float64", "--json", "--no-plot", "-o", "numbers.h5", *more]
    code = status(arguments)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)["result"]


def test_every_example_has_an_oracle_and_shows_its_numbers() -> None:
    assert len(EXAMPLES) == 10
    assert set(EXAMPLES) == {*ORACLES, "language_model"}
    assert all(example.shown for example in EXAMPLES.values())


def test_the_commands_run_and_print_what_the_page_shows(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    printed = ""
    for command in example.commands:
        program, *arguments = shlex.split(command)
        if program == "landscape":
            capsys.readouterr()
            assert status(arguments) == 0, command
            printed += capsys.readouterr().out
    found = [float(n) for n in SHOWN.findall(printed)]
    assert len(found) == len(example.shown)
    if has_pinned_versions():
        assert found == pytest.approx(example.shown, rel=1e-3)


def has_pinned_versions() -> bool:
    """Whether random weights are those of the page: other versions of transformers and torch draw others."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return all(version(name).partition("+")[0] == pins[name] for name in ("torch", "transformers"))


def test_the_numbers_are_those_of_plain_autograd(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    terms, parameters = answer(example, example.eig[0])
    whole = sum(terms.values(), torch.zeros(()))
    gradient, hessian = plain.spectrum(whole, parameters)
    exact = torch.linalg.eigvalsh(hessian)
    eig = measure("eig", example.eig, capsys, "--tol", "1e-9")
    assert eig["loss"] == pytest.approx(float(whole.detach()), rel=1e-9)
    assert eig["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-8)
    assert eig["eigenvalues"] == pytest.approx(exact.flip(0)[:2].tolist(), rel=1e-7)
    assert eig["parameters"] == len(exact)
    trace = measure("trace", _without_k(example.eig), capsys, "--rtol", "0.05")
    error = 4 * trace["standard_error"] + 1e-6 * float(exact.abs().sum())
    assert abs(trace["trace"] - float(exact.sum())) <= error


def _without_k(arguments: list[str]) -> list[str]:
    place = arguments.index("-k")
    return arguments[:place] + arguments[place + 2 :]


@pytest.mark.parametrize("example", ["pinn", "detection", "vae", "ppo"], indirect=True)
def test_each_term_alone_is_that_of_plain_autograd(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    terms, parameters = answer(example, example.eig[0])
    named = [name for name in terms if name != plain.MAIN]
    assert len(named) > 1
    for name in named:
        gradient, hessian = plain.spectrum(terms[name], parameters)
        eig = measure("eig", example.eig, capsys, "--tol", "1e-9", "--term", name)
        assert eig["loss"] == pytest.approx(float(terms[name].detach()), rel=1e-9)
        assert eig["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-8)
        assert eig["eigenvalues"] == pytest.approx(torch.linalg.eigvalsh(hessian).flip(0)[:2].tolist(), rel=1e-7)


def test_surfaces_and_sharpness_stand_on_the_loss_of_plain_autograd(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    surface = measure("surface", _without_k(example.eig), capsys, "--grid", "3")
    sharpness = measure("sharpness", _without_k(example.eig), capsys, "--steps", "3", "--draws", "4")
    assert surface["loss"][1][1] == pytest.approx(surface["centre_loss"], rel=1e-9)
    assert sharpness["loss"] == pytest.approx(surface["centre_loss"], rel=1e-9)
    terms, _ = answer(example, example.eig[0])
    assert sharpness["loss"] == pytest.approx(sum(float(mean.detach()) for mean in terms.values()), rel=1e-9)
