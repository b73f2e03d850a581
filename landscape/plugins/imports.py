"""The user's own Python objects, imported by the name that the user gave; names from inside a file are not imported."""

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
    """Imports the object named `pkg.mod:name` or `path/file.py:name`; raises TaskError if that fails."""
    module_name, _, name = reference.rpartition(":")
    try:
        with importing_from(Path(module_name).parent if module_name.endswith(".py") else Path.cwd()):
            is_file = module_name.endswith(".py")
            module = _file_module(Path(module_name)) if is_file else importlib.import_module(module_name)
    except TaskError:
        raise
    except (Exception, SystemExit) as error:  # importing runs the user's own code
        raise TaskError(
            f"{module_name} cannot be imported: {type(error).__name__}: {error}",
            fix="check the name, or run from the folder that holds it"
            if isinstance(error, ImportError)
            else "mend that file; --debug shows the traceback",
        ) from error
    if not hasattr(module, name):
        raise TaskError(f"{module_name} has no {suggest(name, vars(module))}", fix=f"name a function of {module_name}")
    return getattr(module, name)


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Within the block `folder` is the first entry of `sys.path`; afterwards it is the last one.

    It stays there for imports inside the user's functions. As the last entry, no file in it can replace a library that
    is loaded later.
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
    """Appends a folder to `sys.path`, where it is searched last."""
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.append(entry)


def _file_module(path: Path) -> ModuleType:
    """Runs a Python file as a module called by the file's name; raises TaskError if there is no such file."""
    if not path.is_file():
        raise TaskError(f"there is no file {path}", fix="a path from the working directory, or the config's folder")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} is not a Python file", fix="name a .py file, as in path/file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickle look their module up by name
    spec.loader.exec_module(module)
    return module
