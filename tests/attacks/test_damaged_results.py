"""Results files with flipped bits, zeroed blocks and cuts: commands end in time, in words, and in little memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_objectives import small_objective

import landscape
from landscape import Eig, Surface, Trace

SEED, COUNT = 20, 24
MAX_BYTES = 500 << 20
SECONDS = 2.0  # of computing, for a command
SCRIPT = """
import contextlib, io, json, resource, sys, time
from landscape_cli.main import status

def used():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

for file in sys.argv[1:]:
    for command in (["show", file], ["show", "--json", file], ["export", file, "--csv"], ["check", "--from", file]):
        begin, printed = used(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = status(command)
        print(json.dumps([command, code, used() - begin, printed.getvalue()]))
assert "torch" not in sys.modules
own = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]  # of this program alone
print(max(int(own[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""

Damage = Callable[[random.Random, bytearray], bytearray]


def flip_bits(draw: random.Random, content: bytearray) -> bytearray:
    for _ in range(draw.choice([1, 3, 100])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def zero_a_block(draw: random.Random, content: bytearray) -> bytearray:
    begin, size = draw.randrange(len(content)), draw.choice([8, 64, 512, 4096])
    content[begin : begin + size] = bytes(len(content[begin : begin + size]))
    return content


def zero_in_a_structure(draw: random.Random, content: bytearray) -> bytearray:
    """Within a heap, a tree or a table of HDF5."""
    marks = [content.find(mark, draw.randrange(len(content))) for mark in (b"GCOL", b"TREE", b"SNOD", b"HEAP")]
    begin = max(draw.choice(marks), 0) + draw.randrange(2048)
    content[begin : begin + 64] = bytes(len(content[begin : begin + 64]))
    return content


def cut(draw: random.Random, content: bytearray) -> bytearray:
    return content[: draw.randrange(len(content))]


def overwrite(draw: random.Random, content: bytearray) -> bytearray:
    begin = draw.randrange(len(content))
    content[begin : begin + 16] = b"\xff" * len(content[begin : begin + 16])
    return content


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Results of several analyses in one file, and of one."""
    folder = tmp_path_factory.mktemp("results")
    for analysis in (Eig(k=2), Trace(rtol=0.5), Surface(grid="5x5")):
        landscape.run(analysis, small_objective(), output=folder / "several.landscape.h5")
    landscape.run(Surface(grid="9", dim=1), small_objective(), output=folder / "one.landscape.h5")
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix == ".h5"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")
@pytest.mark.parametrize(
    "damage", [flip_bits, zero_a_block, zero_in_a_structure, cut, overwrite], ids=lambda damage: damage.__name__
)
def test_every_command_ends_in_time_in_words_and_in_little_memory(
    results: list[bytes], tmp_path: Path, damage: Damage
) -> None:
    draw = random.Random(f"{SEED} {damage.__name__}")
    files = [tmp_path / f"{number}.landscape.h5" for number in range(COUNT)]
    for file in files:
        file.write_bytes(damage(draw, bytearray(draw.choice(results))))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, files)], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    *lines, peak = done.stdout.splitlines()
    assert int(peak) * 1024 < MAX_BYTES
    runs = [json.loads(line) for line in lines]
    for command, code, seconds, printed in runs:
        assert code in ((2, 3) if command[0] == "check" else (0, 2)), (command, printed)
        assert code == 0 or "fix:" in printed, (command, printed)
        assert "internal error" not in printed, (command, printed)
        assert "Traceback" not in printed, (command, printed)
        assert seconds < SECONDS, (command, printed)
    codes = np.array([code for *_, code, _, _ in runs])
    assert (codes == 2).any()  # so that the damage was damage
