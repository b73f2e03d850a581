"""The names that stand for data are the names that torch, NumPy and Python give them."""

from __future__ import annotations

import pickle
import pickletools
from collections import Counter, OrderedDict, defaultdict
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from landscape.checkpoints.formats.allowed_globals import BYSTANDERS, CLASSES, DICTIONARIES, ODD_TENSORS, STORAGES
from landscape.checkpoints.formats.tensor_refs import ITEMSIZE


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")
def test_every_storage_has_the_dtype_that_torch_says() -> None:
    for name, dtype in STORAGES.items():
        if name == "UntypedStorage" or name.startswith("Q") or not hasattr(torch, name):  # bytes; quantized integers
            continue
        assert getattr(torch, name).dtype == getattr(torch, dtype)


def test_every_dtype_has_the_size_that_torch_says() -> None:
    for name, size in ITEMSIZE.items():
        if hasattr(torch, name):
            assert getattr(torch, name).itemsize == size


@pytest.mark.parametrize(
    "value",
    [SimpleNamespace(a=1), Path("a"), np.float32(1.0), np.zeros(2), date(2020, 1, 1), {1, 2}, torch.device("cpu")],
    ids=lambda value: type(value).__name__,
)
def test_values_that_training_scripts_leave_are_listed_by_the_names_in_their_pickles(value: object) -> None:
    allowed = {*BYSTANDERS, *DICTIONARIES, "_codecs.encode", "copyreg._reconstructor", "torch.Size"}
    names = {name.replace("__builtin__", "builtins") for name in globals_in(pickle.dumps(value, 2))}
    assert names <= allowed


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), defaultdict(int, a=1), Counter("a")], ids=lambda value: type(value).__name__
)
def test_dictionaries_are_listed_by_the_names_in_their_pickles(value: object) -> None:
    assert globals_in(pickle.dumps(value, 2)) - {"__builtin__.long"} <= DICTIONARIES


def globals_in(content: bytes) -> set[str]:
    """The names that a pickle of protocol 2 would import."""
    opcodes = pickletools.genops(content)
    return {str(argument).replace(" ", ".") for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}


def test_nothing_that_is_listed_can_run_a_command_or_open_a_file() -> None:
    dangerous = ("eval", "exec", "open", "system", "popen", "getattr", "__import__", "compile", "load", "loads")
    listed = {*BYSTANDERS, *DICTIONARIES, *ODD_TENSORS}
    assert not {name for name in listed if name.rpartition(".")[2] in dangerous}
    assert all(prefix.endswith(".") for prefix in CLASSES)
