"""The same arrays and texts are the same bytes in every process."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from landscape.storage.safetensors_order import sorted_metadata

ARRAYS = {"values": np.arange(6.0).reshape(2, 3), 'a/b "é\n': np.zeros((0, 4), np.int8)}
ABOUT = {"fingerprint": "x" * 16, "analysis": "eig", "landscape_schema": "1", 'quoted " \\ \n \x01 é ': "€"}
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from landscape.storage.array_files import save_arrays
save_arrays(Path(sys.argv[1]), {"b": np.arange(3), "a": np.arange(2.0)}, {f"key {n}": str(n) for n in range(8)})
"""


def test_the_order_is_that_of_the_names_whatever_the_library_chose() -> None:
    made = {b"".join(sorted_metadata(save(ARRAYS, dict(order)))) for order in itertools.permutations(ABOUT.items())}
    assert len(made) == 1
    (content,) = made
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert metadata == ABOUT
    assert list(metadata) == sorted(ABOUT)


def test_the_file_stays_one_that_the_library_reads() -> None:
    again = load(b"".join(sorted_metadata(save(ARRAYS, ABOUT))))
    assert {name: (value.shape, value.tobytes()) for name, value in again.items()} == {
        name: (value.shape, value.tobytes()) for name, value in ARRAYS.items()
    }
    assert load(b"".join(sorted_metadata(save(ARRAYS)))).keys() == ARRAYS.keys()


def test_sidecars_of_two_processes_have_one_hash(tmp_path: Path) -> None:
    for number in range(4):
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / f"{number}.eig.safetensors")], check=True)
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in tmp_path.iterdir()}) == 1
