"""Why an optional library cannot be imported: it is not there, or one that it needs is broken."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from typing import Any, NamedTuple

from landscape.errors import LandscapeError, UsageError, safe_excerpt

BUILT_FOR_TORCH = ("torchvision", "torchaudio", "torchtext")  # each version of them fits one of torch
LONGEST_REASON = 200  # letters


class ImportProblem(NamedTuple):
    """What is wrong with a library, as a verb, and what helps."""

    what: str
    fix: str


def import_optional(module: str, user: str, install: str, kind: type[LandscapeError] = UsageError) -> Any:
    """A module of an optional library, which `user` needs; raises an error of that kind if it cannot be imported.

    The message names the first cause: `install` is the remedy only where the library is not there.
    """
    try:
        return import_module(module)
    except Exception as error:  # a broken library may raise anything
        problem = import_problem(error, module, install)
        raise kind(f"{user} needs {_top(module)}, which {problem.what}", fix=problem.fix) from error


def import_problem(error: BaseException, library: str, install: str) -> ImportProblem:
    """Why importing a library, or a part of it, failed; `install` is the remedy where it is not installed.

    >>> import_problem(ModuleNotFoundError("No module named 'xarray'", name="xarray"), "xarray", "pip install xarray")
    ImportProblem(what='is not installed', fix='pip install xarray')
    """
    root = root_cause(error)
    missing = _top(root.name) if isinstance(root, ModuleNotFoundError) and root.name else ""
    if missing == _top(library):
        return ImportProblem("is not installed", install)
    reason = safe_excerpt(f"{type(root).__name__}: {str(root).partition(chr(10))[0]}", LONGEST_REASON)
    what = f"cannot be imported: {reason}"
    if missing:
        return ImportProblem(what, f"pip install {_distribution(missing)}, which {_top(library)} needs")
    culprit = _culprit(root) or _top(library)
    if culprit in BUILT_FOR_TORCH:
        fix = f"install a {culprit} that fits this torch: pip install --upgrade torch {culprit}"
        return ImportProblem(f"{what} ({culprit})", f"{fix}; or, if nothing needs it, pip uninstall {culprit}")
    named = dict.fromkeys([_distribution(_top(library)), _distribution(culprit)])
    return ImportProblem(
        what if culprit == _top(library) else f"{what} ({culprit})", f"pip install -U {' '.join(named)}"
    )


def is_import_problem(error: BaseException) -> bool:
    """Whether an error, or one of its causes, is that of an import."""
    return any(isinstance(one, ImportError) for one in _chain(error))


def root_cause(error: BaseException) -> BaseException:
    """The first error of the chain of causes that ended in this one."""
    return list(_chain(error))[-1]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, as a traceback shows them, the last one first."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)


def _culprit(root: BaseException) -> str:
    """The package whose import failed: the one that a message names, else the innermost besides torch; "" if none."""
    named = [name for name in BUILT_FOR_TORCH if re.search(rf"\b{name}\b", str(root))]
    if named:
        return named[0]
    if isinstance(root, ImportError) and root.name:  # cannot import a name from it
        return _top(root.name)
    packages = []
    trace = root.__traceback__
    while trace is not None:
        packages.append(_top(str(trace.tb_frame.f_globals.get("__name__", ""))))
        trace = trace.tb_next
    passed = {"torch", "landscape", "landscape_cli", "__main__", "", *sys.stdlib_module_names}
    return next((package for package in reversed(packages) if package not in passed), "")


def _top(module: str) -> str:
    return module.partition(".")[0]


def _distribution(package: str) -> str:
    """What is installed by pip for a package: `sklearn` is of scikit-learn."""
    return next(iter(packages_distributions().get(package, ())), package)
