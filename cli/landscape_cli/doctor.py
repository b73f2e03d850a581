"""`landscape doctor`: checks what a measurement relies on, in a form that fits into a bug report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.compute.launched import is_launched
from landscape.compute.memory_limits import require_room_for_libraries
from landscape.conditions import Conditions
from landscape.errors import EXIT_FAILURE, UsageError
from landscape.fields import Option, described_fields
from landscape_cli.launch import require_one_process, work_in_processes
from landscape_cli.options import CONTEXT, argument, build_record, parameters, value_origins, with_signature
from landscape_cli.streams import answer

if TYPE_CHECKING:
    from landscape.objective import Objective

CHECKPOINT_ARGUMENT = argument(
    "checkpoint",
    Annotated[Path | None, typer.Argument(metavar="CHECKPOINT", help="Its model is checked too.")],
    None,
)
DISTRIBUTED_FLAG = argument(
    "distributed",
    Annotated[bool, typer.Option("--distributed", help="Check the processes that torchrun has started instead.")],
    False,
)
JSON_FLAG = argument(
    "as_json", Annotated[bool, typer.Option("--json", help="Print one JSON document, for a bug report.")], False
)


def doctor_command() -> Callable[..., int]:
    """The function behind `landscape doctor`: a checkpoint, and the conditions that every command has."""

    def invoke(context: typer.Context, checkpoint: Path | None, as_json: bool, distributed: bool, **values: Any) -> int:
        """Prints the checks of the machine and of the checkpoint; returns the exit code."""
        checkpoint = checkpoint or context.obj.checkpoint()
        conditions, origins = build_record(Conditions, values), value_origins(context)
        _require_checkpoint(checkpoint, conditions, origins)
        work = partial(print_checks, checkpoint, conditions, origins, as_json=as_json)
        if not distributed:
            require_one_process("doctor")
            return work()
        if not is_launched():
            raise UsageError(
                "--distributed checks the processes that torchrun has started, and it has started none",
                fix="torchrun --nproc-per-node 2 -m landscape doctor --distributed",
            )
        return work_in_processes(partial(work, together=True))

    return with_signature(
        invoke,
        CONTEXT,
        CHECKPOINT_ARGUMENT,
        JSON_FLAG,
        DISTRIBUTED_FLAG,
        *parameters(described_fields(Conditions, Option), "Conditions"),
    )


def print_checks(
    checkpoint: Path | None,
    conditions: Conditions,
    origins: Mapping[str, str],
    *,
    as_json: bool,
    together: bool = False,
) -> int:
    """Prints every check as it is made, or one JSON document; returns 0 if all passed, else 2.

    With `together` they are those of the processes that measure together.
    """
    require_room_for_libraries()
    from landscape import doctor

    def load_in_float64() -> Objective:
        """The checkpoint's objective in float64, where derivatives agree with differences."""
        from landscape.loading import load

        assert checkpoint is not None
        return load(checkpoint, replace(conditions, dtype="float64"), origins=origins)

    checks, make = [], load_in_float64 if checkpoint else None
    every = doctor.diagnose_ranks(make) if together else doctor.diagnose(Path.cwd(), make)
    for check in every:
        checks.append(check)
        if not as_json:
            answer(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.found}")
            if not check.passed:
                answer(f"      fix:  {check.fix}")
    passed = all(check.passed for check in checks)
    if as_json:
        typer.echo(json.dumps({"passed": passed, "checks": [asdict(check) for check in checks]}))
    else:
        unchecked = "" if checkpoint else "; no checkpoint is named, so that no model of yours was checked"
        answer(doctor.summary(checks) + unchecked)
    return 0 if passed else EXIT_FAILURE


def _require_checkpoint(checkpoint: Path | None, conditions: Conditions, origins: Mapping[str, str]) -> None:
    """Raises UsageError if flags name a model or data, but nothing names the checkpoint that they belong to."""
    named_by_flag = "a flag" in (origins.get("model"), origins.get("data"))
    if checkpoint is None and (conditions.model or conditions.data) and named_by_flag:
        raise UsageError("no checkpoint is named", fix="landscape doctor CKPT --model ... --data ...")
