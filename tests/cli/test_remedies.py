"""Kept work is offered only to remedies that go on with it; others say that it is to be discarded."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from landscape.analyses import ANALYSES, Analysis
from landscape.analyses.base import Trouble
from landscape.conditions import Conditions
from landscape.errors import FLAG, SHORT_FLAGS
from landscape.fields import Option, described_fields, flag
from landscape_cli.output import Output
from landscape_cli.remedies import flags_of_remedy, lines_of_trouble

ROOT = Path(__file__).parents[2] / "landscape" / "analyses"
BY_NAME = {kind.name: kind for kind in ANALYSES}


def record_of(name: str, trouble: Trouble, *, kept: bool = True) -> Any:
    analysis = SimpleNamespace() if name not in BY_NAME else make(BY_NAME[name])
    result = SimpleNamespace(inconclusive=lambda: trouble)
    return SimpleNamespace(analysis=analysis, result=result, snapshot=Path("a.x.partial") if kept else None)


def make(kind: type[Analysis]) -> Analysis:
    return object.__new__(kind)  # some cannot be made without options


def printed(name: str, fix: str, *, kept: bool = True) -> list[str]:
    trouble = Trouble("unclear", fix)
    return lines_of_trouble(trouble, record_of(name, trouble, kept=kept))


@pytest.mark.parametrize("kind", ANALYSES, ids=lambda kind: kind.name)
def test_every_option_that_identifies_a_run_discards_its_work(kind: type[Analysis]) -> None:
    for field in described_fields(kind, Option):
        name = "--" + flag(field.name).lstrip("-")
        resuming, discarding = flags_of_remedy(make(kind), f"a larger {name}")
        assert (resuming, discarding) == (([], [name]) if field.about.identity else ([name], []))


@pytest.mark.parametrize("kind", ANALYSES, ids=lambda kind: kind.name)
def test_data_precision_and_layers_discard_the_work_and_a_smaller_micro_batch_does_not(kind: type[Analysis]) -> None:
    assert flags_of_remedy(make(kind), "--dtype float64, --limit 10")[1] == ["--dtype", "--limit"]
    assert flags_of_remedy(make(kind), "--micro-batch 8") == (["--micro-batch"], [])


def test_work_that_a_remedy_goes_on_with_is_offered() -> None:
    both = "the same command with a larger --max-products resumes it, or a larger --tol with --restart"
    assert printed("eig", both) == ["inconclusive: unclear; the work is kept in a.x.partial", f"  fix:  {both}"]
    assert printed("eig", "a larger --max-products, or --tol")[1].endswith("or --tol (--tol with --restart)")


def test_work_that_no_remedy_goes_on_with_is_said_to_be_in_the_way() -> None:
    first, fix = printed("eig", "--dtype float64, or a larger --tol")
    assert first == "inconclusive: unclear"
    assert fix.endswith("a larger --tol; add --restart: a.x.partial is of this run")
    assert "--restart" in printed("eig", "more data")[1]


def test_without_kept_work_nothing_is_said_of_it() -> None:
    assert printed("eig", "a larger --tol", kept=False) == ["inconclusive: unclear", "  fix:  a larger --tol"]


def troubles() -> list[tuple[str, str]]:
    """The remedies of all analyses as far as they are written as texts, each with its file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Trouble":
                fix = call.args[1] if len(call.args) > 1 else ast.Constant("")
                fix = names.get(fix.id, fix) if isinstance(fix, ast.Name) else fix
                texts = [node.value for node in ast.walk(fix) if isinstance(node, ast.Constant)]
                found.append((path.relative_to(ROOT).as_posix(), " ".join(map(str, texts))))
    return found


def test_remedies_name_options_that_there_are() -> None:
    records = (*ANALYSES, Conditions, Output)
    known = {field.name for record in records for field in described_fields(record, Option)}
    every = troubles()
    assert len(every) > 25
    for path, fix in every:
        unknown = {name for name in FLAG.findall(fix) if SHORT_FLAGS.get(name, name.replace("-", "_")) not in known}
        assert not unknown, f"{path}: {fix}"


def test_a_remedy_that_resumes_names_an_option_that_does() -> None:
    """ "--passes resumes it" is true only of an option that does not identify the run."""
    for path, fix in troubles():
        if "resumes it" not in fix:
            continue
        options = [name.replace("-", "_") for name in FLAG.findall(fix.partition("resumes it")[0])]
        kinds = [kind for kind in ANALYSES if Path(path).stem.split("_")[0] in (kind.name, "result")]
        kinds = kinds or [kind for kind in ANALYSES if kind.name in path]
        for kind in [one for one in kinds if one.name in path]:
            identity = {field.name: field.about.identity for field in described_fields(kind, Option)}
            assert any(identity.get(name) is False for name in options), f"{path}: {fix}"
