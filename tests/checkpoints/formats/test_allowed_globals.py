"""The names that stand for data are the names that torch, NumPy and Python give them."""

from __future__ import annotations

import os
import pickle
import pickletools
import subprocess
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
import torch

from landscape.checkpoints.formats.allowed_globals import CLASSES, DICTIONARIES, FORBIDDEN, KNOWN, ODD_TENSORS, STORAGES
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
    [np.zeros(2), {1, 2}, torch.float32, [int, float, complex, slice, type(None)]],
    ids=["array", "set", "dtype", "types"],
)
def test_names_in_plain_values_are_known_and_not_reported(value: object) -> None:
    made = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "_codecs.encode"}
    names = {name.replace("__builtin__", "builtins") for name in globals_in(pickle.dumps(value, 2))}
    assert names - made <= KNOWN


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), defaultdict(int, a=1), Counter("a")], ids=lambda value: type(value).__name__
)
def test_dictionaries_are_listed_by_the_names_in_their_pickles(value: object) -> None:
    assert globals_in(pickle.dumps(value, 2)) - {"__builtin__.long"} <= DICTIONARIES


def globals_in(content: bytes) -> set[str]:
    """The names that a pickle of protocol 2 would import."""
    opcodes = pickletools.genops(content)
    return {str(argument).replace(" ", ".") for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}


DANGEROUS = ("eval", "exec", "open", "system", "popen", "__import__", "compile", "load", "loads", "execv", "remove")


def test_nothing_that_is_known_can_run_a_command_or_open_a_file() -> None:
    assert not {name for name in (*KNOWN, *DICTIONARIES, *ODD_TENSORS) if name.rpartition(".")[2] in DANGEROUS}
    assert all(prefix.endswith(".") for prefix in CLASSES)
    assert not FORBIDDEN & {*KNOWN, *DICTIONARIES, *ODD_TENSORS}


@pytest.mark.parametrize("function", [eval, exec, open, os.system, os.popen, os.execv, subprocess.Popen, pickle.loads])
def test_what_runs_commands_or_code_is_forbidden_by_the_name_in_its_pickle(function: object) -> None:
    (name,) = (name.replace("__builtin__", "builtins") for name in globals_in(pickle.dumps(function, 2)))
    assert {name, name.rpartition(".")[0] + ".*"} & FORBIDDEN
