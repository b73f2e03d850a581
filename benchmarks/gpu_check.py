"""What a quarter of an hour with a GPU tells: first whether every CUDA path is right, then figures by priority.

    python benchmarks/gpu_check.py                     # about 8 minutes; `make gpu-check`
    python benchmarks/gpu_check.py --device cpu        # the same script where there is no GPU

Each part is a process of its own with a time limit. What a part measured is written as it comes, under
benchmarks/results/, and how each part ended under benchmarks/results/gpu-check/. When the script is started
again, parts that passed at this commit are not repeated (--restart repeats them).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import harness

ROOT = Path(__file__).parent.parent
CORRECTNESS_SECONDS = 120
PART_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """One process: its name, its command after the interpreter, and its time limit in seconds."""

    name: str
    command: tuple[str, ...]
    limit: float


def correctness(device: str) -> Part:
    """The contracts of operators and analyses on the device, and their numbers beside the CPU's."""
    tests = ("tests/devices", "tests/operators", "tests/analyses")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--device", device, "--maxfail", "30", *tests)
    return Part("correctness", words, CORRECTNESS_SECONDS)


def figures(device: str) -> list[Part]:
    """The tables worth most first: products, then whole analyses, then memory and cost against size."""
    tables = [
        ("products", "Products: conv"),
        ("products", "Products: MLP"),
        ("products", "Products: transformer"),
        ("eig", "top 20 of digits-resnet"),
        ("surface", "Surfaces: a point"),
        ("spectrum", "8 probes x 64 steps, digits-resnet"),
        ("memorization", "Factors: a pass"),
        ("sharpness", "nine points"),
        ("products", "Products: where the time"),
        ("products", "Products: peak memory"),
        ("spectrum", "8 probes x 64 steps, digits-mlp"),
        ("sharpness", "adaptive l2 worst case"),
        ("products", "Products: cost against columns"),
        ("products", "Products: cost against parameters"),
        ("surface", "Surfaces: 32 points"),
        ("spectrum", "8 probes in lockstep"),
    ]
    return [
        Part(f"{name}: {title}", (f"benchmarks/{name}.py", "--device", device, "--only", title), PART_SECONDS)
        for name, title in tables
    ]


def run(part: Part, limit: float) -> dict[str, object]:
    """Runs the part, at most `limit` seconds, and returns its status, its seconds and the end of what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli")))}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *part.command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that its children end with it
    )
    try:
        output, _ = process.communicate(timeout=limit)
        status = "passed" if process.returncode == 0 else f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = f"not done in {limit:.0f} s"
    return {"status": status, "seconds": round(time.monotonic() - began, 1), "output": output[-4000:]}


def earlier(report: Path, commit: str) -> dict[str, dict[str, object]]:
    """The parts that passed at this commit, by name."""
    if not report.exists():
        return {}
    stored = json.loads(report.read_text())
    if stored["commit"] != commit:
        return {}
    return {name: part for name, part in stored["parts"].items() if part["status"] == "passed"}


def main() -> int:
    """Runs the parts within the budget; the exit code is 1 if the device computes anything wrong."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--device", default="cuda")
    options.add_argument("--budget", type=float, default=480, help="seconds for everything")
    options.add_argument("--restart", action="store_true", help="repeat the parts that are done")
    chosen = options.parse_args()
    began, commit = time.monotonic(), harness.commit()
    report = harness.RESULTS / "gpu-check" / f"{chosen.device}.json"
    report.parent.mkdir(exist_ok=True)
    done = {} if chosen.restart else earlier(report, commit)
    for part in (correctness(chosen.device), *figures(chosen.device)):
        left = chosen.budget - (time.monotonic() - began)
        if part.name in done:
            print(f"{part.name}: done before", flush=True)
            continue
        if left < 5:
            print(f"{part.name}: no time left of {chosen.budget:.0f} s; start the script again", flush=True)
            continue
        print(f"{part.name} ...", flush=True)
        done[part.name] = run(part, min(part.limit, left))
        report.write_text(json.dumps({"commit": commit, "parts": done}, indent=1) + "\n")
        print(f"  {done[part.name]['status']}, {done[part.name]['seconds']} s", flush=True)
        if done[part.name]["status"] != "passed":
            print(done[part.name]["output"], flush=True)
    return int(done.get("correctness", {}).get("status") != "passed")


if __name__ == "__main__":
    sys.exit(main())
