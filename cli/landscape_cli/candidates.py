"""What a gate compares: checkpoints that are measured, and results and baselines that are read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import h5py

from landscape.analyses import Analysis
from landscape.conditions import Conditions
from landscape.errors import Interrupted, LandscapeError
from landscape.gates.entry import Entry, short_names
from landscape.gates.measuring import CHECK_KIND
from landscape.gates.policy import Policy
from landscape_cli import progress
from landscape_cli.gate import Gate
from landscape_cli.measure import outputs, print_plan, say

if TYPE_CHECKING:
    from landscape.gates.measuring import MeasurementSetup
    from landscape.objective import Objective
    from landscape.session import StopSignals

BEGINNING = 64  # bytes in which JSON begins
KEYS = (b'"kind"', b'"schema"', b'"checkpoints"')  # that a baseline has
LARGEST = 2**28  # bytes of a file that may be a baseline


class Source(NamedTuple):
    """A file of entries, and what it is."""

    kind: Literal["checkpoint", "results", "baseline"]
    path: Path


def source(path: Path) -> Source:
    """What a file is that may be any of them: by what it holds, not by its name."""
    if not path.is_file():  # a folder, a pipe, or nothing: whoever reads it says so
        return Source("checkpoint", path)
    if h5py.is_hdf5(path):
        return Source("results", path)
    return Source("baseline" if _is_baseline(path) else "checkpoint", path)


def _is_baseline(path: Path) -> bool:
    """Whether a file looks like a baseline; only one that begins like JSON is read, since checkpoints are large."""
    try:
        with path.open("rb") as file:
            head = file.read(BEGINNING)
            if not head.lstrip().startswith(b"{") or path.stat().st_size > LARGEST:
                return False
            content = head + file.read()
    except OSError:  # whoever reads it says so
        return False
    return all(key in content for key in KEYS)


@dataclass(frozen=True)
class Sources:
    """How files become entries; `failures` fills with those that could not be read."""

    policy: Policy
    analyses: Sequence[Analysis]
    conditions: Conditions
    gate: Gate
    origins: Mapping[str, str]
    baseline: Path
    failures: list[tuple[str, str]]

    def entries(self, *groups: Sequence[Source]) -> list[list[Entry]]:
        """The entries of each group of files; a checkpoint is measured, and the first group's results are kept."""
        from landscape.session import StopSignals

        measured = [path for kind, path in groups[0] if kind == "checkpoint"]
        targets = dict(zip(measured, outputs(measured, self.gate.output, CHECK_KIND), strict=True))
        with StopSignals() as stop:
            return [self._group(group, targets, stop) for group in groups]

    def _group(self, group: Sequence[Source], targets: Mapping[Path, Path], stop: StopSignals) -> list[Entry]:
        found = [entry for one in group if one.kind != "baseline" for entry in self._attempted(one, targets, stop)]
        names = short_names([entry.name for entry in found])
        listed = [entry for one in group if one.kind == "baseline" for entry in self._attempted(one, targets, stop)]
        return [*(replace(entry, name=name) for entry, name in zip(found, names, strict=True)), *listed]

    def _attempted(self, one: Source, targets: Mapping[Path, Path], stop: StopSignals) -> Sequence[Entry]:
        """The entries of one file; none if it fails, which must not lose the others' verdicts."""
        path = one.path
        try:
            return self._of(one, targets, stop)
        except Interrupted:
            raise
        except LandscapeError as error:
            self.failures.append((path.name, str(error)))
        except Exception as error:  # a crash is no regression, and no pass
            if "--debug" in sys.argv:
                raise
            self.failures.append((path.name, f"internal error: {type(error).__name__}: {error}"))
        return []

    def _of(self, one: Source, targets: Mapping[Path, Path], stop: StopSignals) -> Sequence[Entry]:
        from landscape.gates import baseline
        from landscape.gates import measuring as checking

        path = one.path
        if one.kind == "baseline":
            return baseline.read_baseline(path, self.policy.kind).entries
        if one.kind == "results":
            return [checking.read_entry(path, self.policy)]
        return [
            checking.measure_entry(str(path), lambda: self.load(path), self.policy, self.work(targets.get(path), stop))
        ]

    def work(self, target: Path | None = None, stop: StopSignals | None = None, seed: int = 0) -> MeasurementSetup:
        """How to measure: with the analyses' own seeds, moved by `seed`."""
        from landscape.gates.measuring import MeasurementSetup, with_seed_offset

        analyses = [with_seed_offset(analysis, seed) for analysis in self.analyses]
        return MeasurementSetup(analyses, target, self.gate.restart, stop, say, progress.reporter)

    def load(self, path: Path, **changes: Any) -> Objective:
        """The checkpoint's objective, with what there is to say of it said."""
        from landscape.loading import load

        objective = load(path, replace(self.conditions, **changes), origins=self.origins)
        for note in objective.notes:
            say(f"{path.name}: {note}")
        return objective

    def plan(self, paths: list[Path]) -> None:
        """Prints what would be done."""
        for path, target in zip(paths, outputs(paths, self.gate.output, CHECK_KIND), strict=True):
            objective = self.load(path)
            for analysis in self.analyses:
                print_plan(path, target, analysis, objective)
