"""Several processes on this machine with one thread each: CPU time of each rank, and what their sums take.

Every row is the same measurement on 1, 2 and 4 ranks in one run, started one after another.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import harness

WORKER = Path(__file__).parent / "ranks_worker.py"
SIZES = (1, 2, 4)


def together(job: str, size: int) -> dict[str, float]:
    """What the first of so many ranks prints for a job."""
    with socket.socket() as chosen:
        chosen.bind(("localhost", 0))
        port = str(chosen.getsockname()[1])
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    common["TORCHELASTIC_RUN_ID"] = "none"
    if job == "parts":  # freed memory goes back to the system, or old peaks would be counted
        common["MALLOC_MMAP_THRESHOLD_"] = "65536"
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), job],
            env={**common, "WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{job} on {size} ranks failed")
    found: dict[str, float] = json.loads(printed[0].splitlines()[-1])
    return found


def rows(job: str) -> dict[str, dict[str, float]]:
    """Each number of ranks beside one: CPU and wall time, and the share of sums over ranks."""
    found = {size: together(job, size) for size in SIZES}
    one = found[1]
    return {
        f"{size} ranks": {
            "CPU / CPU of one": here["cpu"] / one["cpu"],
            "seconds / seconds of one": here["seconds"] / one["seconds"],
            "share of sums over ranks": here["sums"] / here["seconds"],
            "same bits": float(here["bits"] == one["bits"]),
        }
        for size, here in found.items()
    }


def products(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Products of an MLP of 1.3 million parameters, 4,096 samples."""
    return rows("products")


def points(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Points of a surface of digits-resnet, 512 samples."""
    return rows("points")


def parts(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Peak of a rank with weights in parts: `eig -k 1` of a transformer of 20 million parameters, 4 x 32 tokens."""
    found = {size: together("parts", size) for size in SIZES}
    return {
        f"{size} ranks": {
            "peak [P]": here["peak"] / here["P"],
            "target [P]": (5 + here["rows"]) / size + 1.5 * here["block"] / here["P"],
            "CPU / CPU of one": here["cpu"] / found[1]["cpu"],
            "same bits": float(here["bits"] == found[1]["bits"]),
        }
        for size, here in found.items()
    }


if __name__ == "__main__":
    harness.main(
        "ranks",
        {
            "Ranks: products, MLP of 1.3M, 4,096 samples": products,
            "Ranks: points, digits-resnet": points,
        },
        long={"Ranks: weights in parts, transformer of 20M": parts},
    )
