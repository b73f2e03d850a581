"""Small jobs, to the first product and to the end, beside the import of torch that all must wait for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness

SAMPLE = Path(__file__).parent.parent / "sample_checkpoints" / "digits-mlp.pt"
FIRST = """
import os, sys
from landscape.operators import summed
original = summed.SummedOperator.matmat
def first(self, block):
    original(self, block)
    os._exit(0)
summed.SummedOperator.matmat = first
from landscape_cli.main import main
main()
"""


def commands(folder: Path) -> dict[str, list[str]]:
    landscape = [sys.executable, "-m", "landscape_cli"]
    eig = ["eig", str(SAMPLE), "-o", str(folder / "eig.h5"), "--restart", "--device", "cpu"]
    return {
        "python": [sys.executable, "-c", "pass"],
        "import torch": [sys.executable, "-c", "import torch"],
        "landscape --help": [*landscape, "--help"],
        "landscape eig, to the first product": [sys.executable, "-c", FIRST, *eig],
        "landscape eig --no-plot": [*landscape, *eig, "--no-plot"],
        "landscape eig": [*landscape, *eig],
    }


def startup(device: str, repeats: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:

        def job(command: list[str]) -> Callable[[], object]:
            return lambda: subprocess.run(command, cwd=folder, capture_output=True, check=True)

        jobs = {name: job(command) for name, command in commands(Path(folder)).items()}
        seconds = harness.interleaved(jobs, repeats)
    floor = seconds["import torch"]
    return {name: {"seconds": own, "in imports of torch": own / floor} for name, own in seconds.items()}


if __name__ == "__main__":
    harness.main("startup", {"Small jobs: digits-mlp": startup})
