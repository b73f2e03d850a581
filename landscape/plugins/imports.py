"""Objects of the user's own, imported by the name that the user gave. Names from inside a file never come here."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from landscape.errors import TaskError, suggest


def import_object(reference: str) -> Any:
    """The object named `pkg.mod:name` or `path/file.py:name`; raises TaskError if it cannot be imported."""
    place, _, name = reference.rpartition(":")
    try:
        with importing_from(Path(place).parent if place.endswith(".py") else Path.cwd()):
            module = _file_module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except TaskError:
        raise
    except (Exception, SystemExit) as error:  # importing runs the user's own code
        raise TaskError(
            f"{place} cannot be imported: {type(error).__name__}: {error}",
            fix="check the name, or run from the folder that holds it"
            if isinstance(error, ImportError)
            else "mend that file; --debug shows the traceback",
        ) from error
    if not hasattr(module, name):
        raise TaskError(f"{place} has no {suggest(name, vars(module))}", fix=f"name a function of {place}")
    return getattr(module, name)


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """The user's folder first on the path while the user's module is imported, afterwards last.

    It stays, for imports inside functions; last, so that no file in it stands in for a library that is loaded later.
    """
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
        if entry not in sys.path:
            sys.path.append(entry)


def append_import_folder(folder: Path) -> None:
    """Lets modules be found in a folder too, after everything else."""
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.append(entry)


def _file_module(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(f"there is no file {path}", fix="a path from the working directory, or the config's folder")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} is not a Python file", fix="name a .py file, as in path/file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickle look their module up by name
    spec.loader.exec_module(module)
    return module
