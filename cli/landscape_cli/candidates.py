"""What a gate compares: checkpoints that are measured, and results and baselines that are read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from landscape.analyses import Analysis
from landscape.compute.interrupts import interruption
from landscape.compute.out_of_memory import in_words
from landscape.conditions import Conditions
from landscape.errors import Interrupted, LandscapeError
from landscape.gates.baseline import MAX_BASELINE_BYTES, read_baseline
from landscape.gates.entry import Entry
from landscape.gates.measuring import CHECK_KIND
from landscape.gates.policy import Policy
from landscape.storage import paths
from landscape_cli import progress
from landscape_cli.gate import Gate
from landscape_cli.plans import print_plan
from landscape_cli.streams import say
from landscape_cli.targets import find_targets, look_at_checkpoint

if TYPE_CHECKING:
    from landscape.gates.measuring import MeasurementSetup
    from landscape.objective import Objective
    from landscape.session import StopSignals

JSON_HEAD = 64  # bytes from the beginning of a file in which JSON has begun
BASELINE_KEYS = (b'"kind"', b'"schema"', b'"checkpoints"')


class Source(NamedTuple):
    """A file that gives entries, and of which kind it is."""

    kind: Literal["checkpoint", "results", "baseline"]
    path: Path


def recognize_source(path: Path) -> Source:
    """Whether a file is a checkpoint, a results file or a baseline: by its content, not by its name."""
    if not path.is_file():  # a folder, a pipe, or nothing: its reader raises the error
        return Source("checkpoint", path)
    if paths.is_hdf5(path):
        return Source("results", path)
    return Source("baseline" if _is_baseline(path) else "checkpoint", path)


def _is_baseline(path: Path) -> bool:
    """Whether a file looks like a baseline; it is read only if it begins like JSON, since checkpoints are large."""
    try:
        with path.open("rb") as file:
            head = file.read(JSON_HEAD)
            if not head.lstrip().startswith(b"{") or path.stat().st_size > MAX_BASELINE_BYTES:
                return False
            content = head + file.read()
    except OSError:  # its reader raises the error
        return False
    return all(key in content for key in BASELINE_KEYS)


@dataclass(frozen=True)
class Sources:
    """How files become the gate's entries; `failures` collects the files that could not be read or measured."""

    policy: Policy
    analyses: Sequence[Analysis]
    conditions: Conditions
    gate: Gate
    origins: Mapping[str, str]
    baseline: Path
    failures: list[tuple[str, str]]

    def entries(self, *groups: Sequence[Source]) -> list[list[Entry]]:
        """The entries of each group of files; checkpoints are measured, and the first group's results are kept."""
        from landscape.session import StopSignals

        checkpoints = [source.path for source in groups[0] if source.kind == "checkpoint"]
        targets = find_targets(checkpoints, self.gate.output, CHECK_KIND)
        outputs = {target.checkpoint: target.output for target in targets}
        with StopSignals() as stop:
            return [self._group_entries(group, outputs, stop) for group in groups]

    def _group_entries(self, group: Sequence[Source], outputs: Mapping[Path, Path], stop: StopSignals) -> list[Entry]:
        """The entries of a group: under short names, but for those of a baseline, which have names of their own."""
        others = [source for source in group if source.kind != "baseline"]
        baselines = [source for source in group if source.kind == "baseline"]
        entries = [entry for source in others for entry in self._attempt(source, outputs, stop)]
        names = paths.short_names([entry.name for entry in entries])
        named = [replace(entry, name=name) for entry, name in zip(entries, names, strict=True)]
        return named + [entry for source in baselines for entry in self._attempt(source, outputs, stop)]

    def _attempt(self, source: Source, outputs: Mapping[Path, Path], stop: StopSignals) -> Sequence[Entry]:
        """The entries of one file; none if it fails, which must not lose the others' verdicts."""
        try:
            return self._read_or_measure(source, outputs, stop)
        except Interrupted:
            raise
        except LandscapeError as error:
            self.failures.append((source.path.name, str(error)))
        except Exception as error:  # a crash is no regression, and no pass
            if "--debug" in sys.argv or interruption(error) is not None:
                raise
            self.failures.append((source.path.name, str(in_words(error))))
        return []

    def _read_or_measure(self, source: Source, outputs: Mapping[Path, Path], stop: StopSignals) -> Sequence[Entry]:
        path = source.path
        if source.kind == "checkpoint":  # before torch is loaded
            look_at_checkpoint(path, trust=self.conditions.trust)
        from landscape.gates.measuring import measure_entry, read_entry

        if source.kind == "baseline":
            return read_baseline(path, self.policy.kind).entries
        if source.kind == "results":
            return [read_entry(path, self.policy)]
        setup = self.measurement_setup(outputs.get(path), stop)
        return [measure_entry(str(path), lambda: self.load(path), self.policy, setup)]

    def measurement_setup(
        self, output: Path | None = None, stop: StopSignals | None = None, seed: int = 0
    ) -> MeasurementSetup:
        """How to measure: with the analyses' own seeds, moved by `seed`."""
        from landscape.gates.measuring import MeasurementSetup, with_seed_offset

        analyses = [with_seed_offset(analysis, seed) for analysis in self.analyses]
        return MeasurementSetup(analyses, output, self.gate.restart, stop, say, progress.reporter)

    def load(self, path: Path, *, planned: bool = False, **changes: Any) -> Objective:
        """The checkpoint's objective, under the conditions with these changes; says where its parts came from."""
        from landscape.loading import load

        objective = load(path, replace(self.conditions, **changes), origins=self.origins, planned=planned)
        for note in objective.notes:
            say(f"{path.name}: {note}")
        return objective

    def print_plans(self, paths: Sequence[Path]) -> None:
        """Prints what measuring every checkpoint would take."""
        for target in find_targets(paths, self.gate.output, CHECK_KIND):
            objective = self.load(target.checkpoint, planned=True)
            for analysis in self.analyses:
                print_plan(target, analysis, objective)
