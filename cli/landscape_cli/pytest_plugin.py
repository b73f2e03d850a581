"""A pytest fixture that checks the geometry of a checkpoint's loss against a committed baseline.

    def test_the_model_is_not_sharper(landscape_check):
        landscape_check("ckpt.pt", metrics=["eig.eigenvalues[0]"], tol="1%")

Every pytest run imports this module at its start, so that its imports wait until the fixture is called.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from landscape.gates.verdict import Verdict
    from landscape.objective import Objective

    Metrics: TypeAlias = "str | Sequence[str] | Mapping[str, Any] | None"

MARKER = "landscape"
FIXTURE = "landscape_check"


class LandscapeWarning(UserWarning):
    """A metric changed, or could not be compared, for which the policy asks for a warning only."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the flags of the gate to pytest's command line."""
    group = parser.getgroup(MARKER)
    group.addoption(
        "--landscape-update", action="store_true", help="write the measured numbers to the baseline; not in CI"
    )
    group.addoption(
        "--landscape-baseline", metavar="FILE", help="baseline of landscape_check; default that of landscape.toml"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker; refuses an update in CI, or by several processes."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(metrics, tol, kind, baseline): checks the geometry of a loss; the arguments hold where "
        f"{FIXTURE} is called without. Tests that use {FIXTURE} have it.",
    )
    if config.getoption("--landscape-update"):
        from landscape.errors import UsageError
        from landscape_cli.update import require_no_ci

        try:
            require_no_ci()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        if hasattr(config, "workerinput") or config.getoption("numprocesses", None):
            raise pytest.UsageError("--landscape-update writes one file: run it without -n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use the fixture."""
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()) and item.get_closest_marker(MARKER) is None:
            item.add_marker(MARKER)


@pytest.fixture
def landscape_check(request: pytest.FixtureRequest) -> Callable[..., list[Verdict]]:
    """A function that measures a checkpoint (an Objective, several if retrained), and fails the test if it is sharper.

    `check(checkpoint, metrics=None, tol=None, *, kind=None, name=None, baseline=None, **conditions)`: missing arguments
    come from the marker, then from `[check]` in landscape.toml. `metrics` are names, or a table of rules by name.
    `name` is the entry in the baseline, by default the file's name, or the test's for an Objective. `conditions` are
    those of `landscape.load`: model, data, loss, limit, ... Returns the verdicts.
    """
    usual: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(MARKER))):  # the closest one last
        usual |= present_arguments(*marker.args, **marker.kwargs)

    def check(
        checkpoint: str | Path | Objective | Sequence[Any],
        metrics: Metrics = None,
        tol: str | None = None,
        *,
        kind: str | None = None,
        name: str | None = None,
        baseline: str | Path | None = None,
        **conditions: Any,
    ) -> list[Verdict]:
        given = present_arguments(metrics, tol, kind, baseline)
        from landscape.errors import LandscapeError
        from landscape_cli.testing import check_checkpoints

        several = list(checkpoint) if isinstance(checkpoint, list | tuple) else [checkpoint]
        if name is None and not all(isinstance(one, str | Path) for one in several):
            name = request.node.name
        try:
            verdicts = check_checkpoints(request.config, several, {**usual, **given}, name, conditions)
        except LandscapeError as error:
            pytest.fail(_in_words_of_pytest(f"error: {error}"), pytrace=False)
        report_verdicts(verdicts, request.node.user_properties)
        return verdicts

    return check


def present_arguments(
    metrics: Metrics = None, tol: str | None = None, kind: str | None = None, baseline: str | Path | None = None
) -> dict[str, Any]:
    """The arguments of a marker or a call that are given; a wrong one raises TypeError, as in a call."""
    several = [metrics] if isinstance(metrics, str) else metrics
    named = {"metrics": several, "tol": tol, "kind": kind, "baseline": baseline}
    return {name: value for name, value in named.items() if value is not None}


def report_verdicts(verdicts: list[Verdict], properties: list[tuple[str, object]]) -> None:
    """Adds the numbers to a test's properties, warns, and fails it if anything regressed or cannot be compared.

    It does not use pytest's `record_property`, which adds properties too, but warns whenever a JUnit file is written.
    """
    from landscape.gates.verdict import exit_code
    from landscape_cli.reports import reasons_and_notes

    for verdict in verdicts:
        if verdict.candidate is not None:
            properties.append((verdict.metric, verdict.candidate))
        if verdict.baseline is not None:
            properties.append((f"{verdict.metric}.baseline", verdict.baseline))
        if verdict.status == "warning":
            warnings.warn(LandscapeWarning(" ".join(reasons_and_notes([verdict]))), stacklevel=3)
    if exit_code(verdicts):
        pytest.fail(_in_words_of_pytest("\n".join(reasons_and_notes(verdicts))), pytrace=False)


def _in_words_of_pytest(words: str) -> str:
    """A message whose remedies are those of pytest, not of the command line."""
    return words.replace("landscape check CKPT --update", "--update").replace("--update", "pytest --landscape-update")
