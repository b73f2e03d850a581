"""How hostile files are made by hand, and what opening them costs."""

from __future__ import annotations

import pickle
import pickletools
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

MARKER = "ran"  # the file that appears if code runs
STATE = {"weight": torch.ones(2, 3)}
SECONDS = 5.0  # of a processor that runs the yardstick in YARDSTICK; all are refused in less than one
YARDSTICK = 0.03  # seconds of a million additions in Python, by which seconds of slower processors are divided
BEYOND = 64 << 20  # bytes that may be taken beyond twice the file's size


class Called:
    """Whatever is given is called with the arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments)


def zipped(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in members.items():
            file.writestr(f"archive/{name}", content)
    return path


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def saved(folder: Path, content: Any = STATE) -> Path:
    torch.save(content, folder / "saved.pt")
    return folder / "saved.pt"


def described(folder: Path, tensor: bytes) -> Path:
    """A zip whose description is assembled by hand."""
    pickled = b"\x80\x02}X\x06\x00\x00\x00weight" + tensor + b"s."
    return zipped(folder / "a.pt", {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(24), "version": b"3"})


def view(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 6) -> bytes:
    """The opcodes of a tensor over storage 0."""
    storage = pickle.dumps(("storage", "T", "0", "cpu", count), 2)[2:-1]
    named = storage.replace(b"X\x01\x00\x00\x00T", b"ctorch\nFloatStorage\n")
    sizes = pickle.dumps((offset, shape, stride, False), 2)[2:-1]
    # the rebuild function, then (storage, offset, shape, stride, False, hooks): items between a mark and a tuple
    inner = pickletools.optimize(b"\x80\x02" + sizes + b".")[2:-1]
    assert inner.startswith(b"(")
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + _unmemoized(named) + b"Q" + inner[1:-1] + hooks + b"tR"


def _unmemoized(pickled: bytes) -> bytes:
    return pickletools.optimize(b"\x80\x02" + pickled + b".")[2:-1]


def slowness() -> float:
    """How many times as long as YARDSTICK this processor, shared as it is now, takes for a million additions."""
    start, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return max(1.0, (time.process_time() - start) / YARDSTICK)


class Cost:
    """Seconds of the processor, by the yardstick, and bytes at the peak, that a piece of code takes."""

    def __enter__(self) -> Cost:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        self.before, self.start = self._peak(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = (time.process_time() - self.start) / slowness()
        self.bytes = self._peak() - self.before

    def _peak(self) -> int:
        words = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()
        return int(words[0]) * 1024


def size_of(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.is_file() else 0
