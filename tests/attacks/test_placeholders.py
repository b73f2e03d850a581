"""Unknown objects beside plain weights: placeholders cost neither code, nor imports, nor time, nor memory.

Each file here has plain weights and something hostile beside them. It is opened with those weights alone, or refused.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import pathlib
import pickle
import struct
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hostile_files import BEYOND, MARKER, SECONDS, Called, Cost, described, members_of, saved, size_of, view, zipped

from landscape.checkpoints import read
from landscape.checkpoints.inspection import inspect
from landscape.errors import LandscapeError

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}
NAME = b"cevil_module\nThing\n"  # evil_module lies on the path of imports, and leaves the marker if it is imported


def beside(folder: Path, pickled: bytes) -> Path:
    """A file of plain weights with one more entry, whose pickle is given."""
    inside = members_of(saved(folder, {"state_dict": STATE}))
    whole = inside["data.pkl"]
    assert whole.endswith(b"s.")
    entry = b"X\x05\x00\x00\x00extra" + pickled + b"s."
    return zipped(folder / "a.pt", inside | {"data.pkl": whole[:-1] + entry})


HARMLESS: dict[str, Callable[[Path], Path]] = {
    "called": lambda folder: beside(folder, NAME + b")R"),
    "made with arguments": lambda folder: beside(folder, NAME + b"(K\x01}]t\x81"),
    "given a state": lambda folder: beside(folder, NAME + b")R}X\x08\x00\x00\x00__dict__}sb"),
    "given a state twice": lambda folder: beside(folder, NAME + b")R}b]b"),
    "an instance of protocol 0": lambda folder: beside(folder, b"(K\x01ievil_module\nThing\n"),
    "a class of protocol 1": lambda folder: beside(folder, b"(" + NAME + b"K\x01o"),
    "a call of what a call gave": lambda folder: beside(folder, NAME + b")R)R)R)R"),
    "a method by getattr": lambda folder: beside(
        folder, b"c__builtin__\ngetattr\n" + NAME + b"X\x03\x00\x00\x00run\x86R)R"
    ),
    "items": lambda folder: beside(folder, NAME + b")R(K\x01K\x02u(K\x03e"),
    "an object as a key": lambda folder: beside(folder, b"}" + NAME + b")RK\x01s"),
    "an object that holds itself": lambda folder: beside(folder, NAME + b")Rq\xf0h\xf0b"),
    "an object in its own arguments": lambda folder: beside(
        folder, NAME + b")Rq\xf00" + NAME + b"h\xf0\x85Rq\xf1h\xf1b"
    ),
    "calls in calls, deep": lambda folder: beside(folder, (NAME + b"(") * 20_000 + b"N" + b"tR" * 20_000),
    "states in states, deep": lambda folder: beside(folder, (NAME + b")R") * 20_000 + b"b" * 19_999),
    "doubled arguments": lambda folder: beside(folder, NAME + b")" + b"2\x86" * 60 + b"R"),
    "a state that is the weights themselves": lambda folder: saved(
        folder, (state := dict(STATE)) and {"state_dict": state, "x": types.SimpleNamespace(state=state)}
    ),
    "a tensor in it": lambda folder: saved(folder, {"state_dict": STATE, "extra": Called(print, torch.ones(5))}),
    "bytearray of a size": lambda folder: saved(folder, {"state_dict": STATE, "extra": Called(bytearray, 1 << 40)}),
    "a deque without end": lambda folder: saved(folder, {"state_dict": STATE, "extra": Called(iter, int, 1)}),
    "a name of a megabyte": lambda folder: beside(
        folder, b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"X\x01\x00\x00\x00b\x93)R"
    ),
    "a name with a command": lambda folder: beside(folder, b"X\x08\x00\x00\x00\n::error\x8c\x03::b\x93)R"),
    "ten thousand names": lambda folder: beside(
        folder, b"(" + b"".join(b"cm%d\nf\n)R" % number for number in range(10_000)) + b"t"
    ),
}
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a state for a tensor": (
        lambda folder: described(folder, view((2, 3), (3, 1)) + b"(K\x00K\x06\x85K\x01\x85tb"),
        "a state for a tensor",
    ),
    "items for a tensor": (lambda folder: described(folder, view((2, 3), (3, 1)) + b"K\x00K\x01s"), "no dictionary"),
    "a tensor over an object": (
        lambda folder: described(
            folder, b"ctorch._utils\n_rebuild_tensor_v2\n(" + NAME + b")RK\x00K\x06\x85K\x01\x85\x89NtR"
        ),
        "whose storage is none",
    ),
    "a weight that a call makes": (
        lambda folder: saved(folder, {"weight": Called(torch.abs, STATE["weight"])}),
        r"only: weight \(a",
    ),
    "a state dict that a call makes": (
        lambda folder: saved(folder, {"state_dict": Called(sorted, STATE)}),
        "inside a Python object: state_dict is",
    ),
    "a million objects": (
        lambda folder: beside(folder, b"(" + NAME + b"q\xf0" + b"h\xf0)R" * 10**6 + b"t"),
        "holds too many Python objects besides tensors(.|\\n)*more memory than the file can be(.|\\n)*eig .* --trust",
    ),
    "a long list for many calls": (
        lambda folder: beside(
            folder, b"](" + b"N" * 100_000 + b"eq\xf0(" + NAME + b"q\xf10" + b"h\xf1h\xf0\x85R" * 2000 + b"t0h\xf1)R"
        ),
        "more memory than the file can be worth",
    ),
    "an object as a name": (
        lambda folder: described(folder, b"K\x01s" + NAME + b")R" + view((2, 3), (3, 1))),
        "no tensors by name|could change",
    ),
    "weights that a call may change": (
        lambda folder: saved(folder, (state := dict(STATE)) and {"state_dict": state, "x": Called(len, state)}),
        "could change: they are handed over to builtins.len",
    ),
    "weights that a method may change": (
        lambda folder: saved(folder, (state := dict(STATE)) and {"state_dict": state, "x": [state.update, 1]}),
        "could change: they are handed over to builtins.getattr",
    ),
    "weights in a list for a call": (
        lambda folder: saved(folder, (state := dict(STATE)) and {"x": Called(map, len, [state]), "model": state}),
        "could change: they are handed over to .*map",
    ),
    "a command in an argument": (
        lambda folder: beside(folder, NAME + b"cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R\x85R"),
        "besides tensors: os.system",
    ),
}


@pytest.fixture(autouse=True)
def _trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "evil_module.py").write_text(f"import pathlib\npathlib.Path({MARKER!r}).touch()\nclass Thing: pass")


def _require_quiet(path: Path, folder: Path, cost: Cost) -> None:
    assert not (folder / MARKER).exists()
    assert "evil_module" not in sys.modules
    assert cost.seconds < SECONDS
    assert cost.bytes < 2 * size_of(path) + BEYOND


@pytest.mark.parametrize("make", HARMLESS.values(), ids=list(HARMLESS))
def test_plain_weights_beside_it_are_read_and_it_is_named(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with Cost() as cost:
        checkpoint = read(path)
        inspection = inspect(path)
    assert torch.equal(checkpoint.tensors["weight"], STATE["weight"])
    note = next(note for note in checkpoint.notes if "passed over" in note)
    assert note.isprintable()
    assert len(note) < 1000
    assert inspection.passed_over
    assert all(name.isprintable() for name in inspection.passed_over)
    _require_quiet(path, tmp_path, cost)


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_wanted_tensor_that_hangs_on_it_is_refused(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with Cost() as cost, pytest.raises(LandscapeError, match=message) as refusal:
        read(path)
    assert refusal.value.fix
    assert len(str(refusal.value)) < 1000
    _require_quiet(path, tmp_path, cost)


@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_take_no_more_than_twice_the_file(protocol: int, tmp_path: Path) -> None:
    """Bytes of protocol 2 are text, which torch's own reader holds three times."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, 96 << 20, dtype=np.uint8) for name in "ab"}
    torch.save(arrays, tmp_path / "a.pt", pickle_protocol=protocol)
    expected = {name: int(array.sum()) for name, array in arrays.items()}
    del arrays
    with Cost() as cost:
        tensors = read(tmp_path / "a.pt").tensors
    assert {name: int(tensor.sum()) for name, tensor in tensors.items()} == expected
    assert cost.bytes < 2 * size_of(tmp_path / "a.pt") + BEYOND


def test_the_trap_works(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=".*"):
        pickle.loads(b"\x80\x02" + NAME + b"K\x01\x85R.")
    assert (tmp_path / MARKER).exists()
    sys.modules.pop("evil_module", None)


class Color(enum.Enum):
    red = 1


class Point(NamedTuple):
    x: int


@dataclass
class Settings:
    lr: float = 0.1


class Table(dict[str, Any]):
    """As EasyDict, yacs' CfgNode and mmengine's ConfigDict: a dictionary of a class of its own."""


LEFT_BY_TRAINING: dict[str, Any] = {
    "Namespace": argparse.Namespace(lr=0.1),
    "PurePosixPath": pathlib.PurePosixPath("a"),
    "PureWindowsPath": pathlib.PureWindowsPath("a"),
    "datetime": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "deque": collections.deque([1]),
    "ChainMap": collections.ChainMap({"a": 1}),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "print": print,
    "partial": functools.partial(int, base=2),
    "Sequential": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()),
    "SGD": torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1),
    "Color": Color.red,
    "Point": Point(1),
    "Settings": Settings(),
    "Table": Table(a=1),
    "getattr": {}.get,
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", LEFT_BY_TRAINING)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_what_training_leaves_beside_the_weights_is_passed_over_and_named(
    kind: str, zipped: bool, tmp_path: Path
) -> None:
    content = {"state_dict": STATE, "extra": LEFT_BY_TRAINING[kind]}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    checkpoint = read(tmp_path / "a.pt")
    assert torch.equal(checkpoint.tensors["weight"], STATE["weight"])
    assert any(name.endswith(kind) for name in inspect(tmp_path / "a.pt").passed_over)
