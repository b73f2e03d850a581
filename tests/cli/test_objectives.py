"""Objectives on the command line: every command takes them, and what is none ends in words, with nothing lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from gate_folders import Captured

import landscape
from landscape.zoo.mlp import mlp
from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")

OBJECTIVES = """
import torch
from torch.nn import functional

def by_sample(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

def named(model, batch):
    losses = by_sample(model, batch)
    return {"fit": losses, "size": (model(batch[0]).square().sum(), 10 * len(losses))}

def with_outputs(model, batch):
    return by_sample(model, batch)

with_outputs.outputs = lambda model, batch: model(batch[0])
with_outputs.targets = lambda batch: batch[1]
with_outputs.loss = "cross_entropy"

def mean(model, batch):
    return by_sample(model, batch).mean()

def counts_nothing(model, batch):
    return by_sample(model, batch).sum(), 0

def other_names(model, batch):
    return {"first" if batch[1][0] == FIRST else "later": (by_sample(model, batch).sum(), 1)}

FIRST = None

def ignores(model, batch):
    return torch.nn.Linear(64, 10)(batch[0].flatten(1)).sum(1)

def data():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 64, generator=generator), torch.arange(n) % 10) for n in (12, 7)]

def names_by_batch(model, batch):
    return {"a" if len(batch[1]) == 12 else "b": (by_sample(model, batch).sum(), 1)}

def once():
    return iter(data())
"""


@pytest.fixture
def named_checkpoint(ckpt: Path) -> str:
    """A checkpoint whose model the file names, and a file of objectives, in the working directory."""
    Path("own.py").write_text(OBJECTIVES)
    return ckpt.name


def run(command: str, checkpoint: str, *more: str) -> int:
    words = command.split()
    return status([words[0], checkpoint, *words[1:], "--data", "own.py:data", *more])


@pytest.mark.parametrize(
    "command",
    [
        "eig -k 2 --no-plot",
        "density --steps 10 --no-plot",
        "trace --no-plot",
        "sharpness --no-plot",
        "flatness --no-plot",
        "surface --grid 3 --no-plot",
        "direction",
        "measures --draws 0",
    ],
)
@pytest.mark.parametrize("function", ["by_sample", "named"])
def test_every_analysis_without_outputs_takes_an_objective(
    named_checkpoint: str, command: str, function: str, capsys: Captured
) -> None:
    assert run(command, named_checkpoint, "--objective", f"own.py:{function}") in (0, 3)
    assert "error" not in capsys.readouterr().err


def test_the_same_loss_by_name_and_as_a_function_gives_the_same_numbers(
    named_checkpoint: str, capsys: Captured
) -> None:
    values = []
    for words in (["--loss", "cross_entropy"], ["--objective", "own.py:by_sample"]):
        assert run("eig -k 2 --json --no-plot --restart", named_checkpoint, *words) == 0
        values.append(json.loads(capsys.readouterr().out)["result"]["eigenvalues"])
    np.testing.assert_allclose(*values, rtol=1e-4)


def test_terms_add_up_in_files_too(named_checkpoint: str, capsys: Captured) -> None:
    losses = []
    for words in ([], ["--term", "fit"], ["--term", "size"]):
        assert run("direction --json", named_checkpoint, "--objective", "own.py:named", *words, "--restart") == 0
        document = json.loads(capsys.readouterr().out)
        losses.append(document["result"]["loss"])
        assert document["conditions"]["term"] == (words[1] if words else None)
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-6)


def test_another_term_or_decay_is_another_measurement(named_checkpoint: str, capsys: Captured) -> None:
    for words in (["--term", "fit"], ["--term", "size"], ["--term", "size", "--weight-decay", "1"]):
        assert run("direction", named_checkpoint, "--objective", "own.py:named", *words) == 0
        assert "replaced the earlier" in capsys.readouterr().err or words == ["--term", "fit"]


def test_settings_name_an_objective(named_checkpoint: str, capsys: Captured) -> None:
    Path("landscape.toml").write_text('objective = "own.py:named"\nterm = "fit"\nweight-decay = 0.5\n')
    assert run("direction --json", named_checkpoint) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["resolved_from"]["objective"].endswith("own.py:named, from landscape.toml")
    assert document["conditions"]["weight_decay"] == 0.5


def test_what_needs_outputs_takes_them_from_the_function_or_says_how(named_checkpoint: str, capsys: Captured) -> None:
    assert run("eig -k 1 --operator ggn --no-plot", named_checkpoint, "--objective", "own.py:with_outputs") == 0
    assert run("memorization --no-plot", named_checkpoint, "--objective", "own.py:with_outputs") == 0
    capsys.readouterr()
    for command in ("eig --operator ggn", "memorization", "surface --grid 3 --metric cross_entropy"):
        assert run(command, named_checkpoint, "--objective", "own.py:by_sample") == 2
        assert "outputs(model, batch), targets(batch) and loss" in capsys.readouterr().err


def test_the_gate_and_the_doctor_take_objectives(named_checkpoint: str, capsys: Captured) -> None:
    words = ["--objective", "own.py:named", "--metric", "eig.eigenvalues[0]"]
    assert run("check --update", named_checkpoint, *words) == 0
    assert run("check", named_checkpoint, *words) == 0
    assert run("doctor", named_checkpoint, "--objective", "own.py:named") == 0
    assert "internal error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "own.py:mean"], "is one number for a batch, without a count"),
        (["--objective", "own.py:counts_nothing"], "counts nothing in all data"),
        (["--objective", "own.py:names_by_batch"], "returns other terms on another batch"),
        (["--objective", "own.py:ignores"], "two different outputs|is zero|is random"),
        (["--objective", "own.py:nowhere"], "own.py has no 'nowhere'|has no nowhere"),
        (["--objective", "own.py"], "own.py is a file: name a function in it"),
        (["--objective", "missing.py:f"], "there is no file missing.py"),
        (["--objective", "unheard-of"], "there is no objective called"),
        (["--objective", "own.py:OBJECTIVES"], "has no"),
        (["--objective", "own.py:FIRST"], "own.py:FIRST is a NoneType, not a function"),
        (["--objective", "own.py:named", "--term", "bias"], "--term bias is no term"),
        (["--objective", "own.py:by_sample", "--loss", "mse"], "--objective and --loss exclude each other"),
        (["--term", "fit"], "--term fit without --objective"),
        (["--weight-decay", "-1"], "weight-decay"),
        (["--decay-params", "*"], "--decay-params without --weight-decay"),
        (["--weight-decay", "1", "--decay-params", "nowhere*"], "--decay-params"),
        (["--mode", "dream"], "mode"),
    ],
)
def test_bad_input_ends_in_words_and_loses_nothing(
    named_checkpoint: str, words: list[str], message: str, capsys: Captured
) -> None:
    assert run("direction -o kept.h5", named_checkpoint) == 0
    before = hashlib.sha256(Path("kept.h5").read_bytes()).hexdigest()
    capsys.readouterr()
    assert run("direction -o kept.h5", named_checkpoint, *words) == 2
    error = capsys.readouterr().err
    assert any(part in error for part in message.split("|"))
    assert "fix:" in error
    assert "internal error" not in error
    assert hashlib.sha256(Path("kept.h5").read_bytes()).hexdigest() == before


def test_python_takes_the_name_too(named_checkpoint: str) -> None:
    objective = landscape.load(named_checkpoint, data="own.py:data", objective="own.py:named", term="size")
    assert objective.loss.name == "named"
    with pytest.raises(landscape.errors.UsageError, match="load\\(\\) takes the objective by name"):
        landscape.load(named_checkpoint, objective=lambda model, batch: model(batch[0]))


def test_a_described_objective_is_found_by_its_name(clean_folder: None, capsys: Captured) -> None:
    """A file names an objective as it names a loss: registered, or from a module that the user trusts."""
    for name in ("own.py", "described_own.py"):  # a module of its own name: `own` may be that of another test
        Path(name).write_text(OBJECTIVES)
    spec = {"model": "mlp", "model_args": {"sizes": [64, 10]}, "objective": "described_own:by_sample"}
    landscape.save("described.pt", mlp(sizes=[64, 10]), spec=spec)
    assert run("direction", "described.pt") == 2
    assert "there is no objective called" in capsys.readouterr().err
    assert run("direction", "described.pt", "--trusted-modules", "described_own") == 0
