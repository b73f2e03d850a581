"""Large models on one device: the peak of memory of each command beyond the interpreter, beside its plan.

P is one float32 copy of the parameters. Every command runs in a process of its own. The models are GPT-2 with random
weights, made from their configurations: of 23 million parameters in the tables, small and medium in the studies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import harness
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

WORKER = Path(__file__).parent / "scale_worker.py"
MODELS = Path(tempfile.gettempdir()) / "landscape-scale"


class Case(NamedTuple):
    """A command: the analysis, its options as fields and as words, and how many P are the target."""

    command: str
    options: Mapping[str, Any]
    words: tuple[str, ...]
    target: float | None = None


class Net(NamedTuple):
    """A GPT-2: its configuration, and sequences x tokens of the batch."""

    name: str
    config: Mapping[str, int]
    sequences: int
    tokens: int


SMALL_NET = Net("gpt2-23M", {"vocab_size": 5000, "n_positions": 64, "n_embd": 384, "n_layer": 12, "n_head": 6}, 1, 64)
GPT2 = Net("gpt2-small", {"n_positions": 1024}, 4, 256)
MEDIUM = Net("gpt2-medium", {"n_positions": 1024, "n_embd": 1024, "n_layer": 24, "n_head": 16}, 4, 256)
EIG = Case("eig", {"k": 1}, ("-k", "1"), 5 + 22)  # 2 k + 20 rows
TRACE = Case("trace", {"max_products": 8}, ("--max-products", "8"), 8)
SHARPNESS = Case("sharpness", {"starts": 1}, ("--starts", "1"), 8)
SURFACE = Case("surface", {"dim": 1, "grid": (11,)}, ("--dim", "1", "--grid", "11"), 4)
LAYERS = tuple(f"transformer.h.{n}.mlp.{part}" for n in range(2) for part in ("c_fc", "c_proj"))
MEMORIZATION = Case("memorization", {"layers": ("*mlp*",)}, ("--layers", "*mlp*"), 3)
FOUR_LAYERS = Case("memorization", {"layers": LAYERS}, tuple(word for name in LAYERS for word in ("--layers", name)))
TRACE_TO_A_TENTH = Case("trace", {"rtol": 0.1}, ("--rtol", "0.1"))
LIMITED = (EIG, TRACE)  # in 60 % of their memory
SHARE = 0.6


def model(net: Net) -> tuple[Path, Path]:
    """The directory of a model and the file of its batch, made if they are not there."""
    folder, data = MODELS / net.name, MODELS / f"{net.name}.safetensors"
    if not data.exists():
        torch.manual_seed(0)
        gpt = GPT2LMHeadModel(GPT2Config(**net.config))
        gpt.save_pretrained(folder)
        save_file({"input_ids": torch.randint(0, gpt.config.vocab_size, (net.sequences, net.tokens))}, data)
    return folder, data


def worker(**job: Any) -> dict[str, float]:
    """What scale_worker.py prints for a job; freed memory goes back to the system, or old peaks would be counted."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, str(WORKER), json.dumps({"threads": torch.get_num_threads(), **job})]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run(case: Case, folder: Path, data: Path, limit: int = 0) -> dict[str, float]:
    """The command in a process of its own, its files in a folder that is deleted."""
    with tempfile.TemporaryDirectory() as output:
        words = [case.command, str(folder), "--data", str(data), "-o", f"{output}/", "--no-plot", *case.words]
        return worker(kind="run", words=words, limit=limit)


def rows(net: Net, cases: tuple[Case, ...]) -> dict[str, dict[str, float]]:
    """The peak of each command beside its plan, both in P, and its time in gradients over all data."""
    folder, data = model(net)
    unit = worker(kind="gradient", folder=str(folder), data=str(data))
    table = {}
    for case in cases:
        plan = worker(kind="plan", command=case.command, options=case.options, folder=str(folder), data=str(data))
        found = run(case, folder, data)
        table[" ".join((case.command, *case.words))[:60]] = {
            "peak [P]": found["bytes"] / unit["P"],
            "plan [P]": plan["bytes"] / unit["P"],
            "peak / plan": found["bytes"] / plan["bytes"],
            **({"target [P]": case.target} if case.target else {}),
            "time [gradients]": found["seconds"] / unit["seconds"],
            "planned [gradients]": plan["seconds"] / plan["gradient"] if plan["gradient"] else 0.0,
            "dry run [gradients of a micro-batch]": plan["passes"],
            "exit code": found["code"],
        }
        print(case.command, table[" ".join((case.command, *case.words))[:60]], flush=True)
    return table


def small(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """GPT-2 of 23 million parameters, 64 tokens."""
    return rows(SMALL_NET, (EIG, TRACE, SHARPNESS, SURFACE, MEMORIZATION))


def limited(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The same commands where the process may allocate 60 % of what they take without a limit."""
    folder, data = model(SMALL_NET)
    unit = worker(kind="gradient", folder=str(folder), data=str(data))
    table = {}
    for case in LIMITED:
        whole = run(case, folder, data)
        found = run(case, folder, data, limit=int(SHARE * whole["bytes"]))
        table[case.command] = {
            "peak [P]": whole["bytes"] / unit["P"],
            "peak with 60 % of it [P]": found["bytes"] / unit["P"],
            "time / time": found["seconds"] / whole["seconds"],
            "exit code": found["code"],
        }
    return table


def gpt2(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """GPT-2 small: 124 million parameters, vocabulary of 50,257, 4 x 256 tokens."""
    return rows(GPT2, (EIG, TRACE_TO_A_TENTH, SURFACE, FOUR_LAYERS))


def medium(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """GPT-2 medium: 355 million parameters, 4 x 256 tokens."""
    return rows(MEDIUM, (EIG,))


if __name__ == "__main__":
    harness.main(
        "scale",
        {"Scale: GPT-2 of 23 million parameters, 64 tokens": small, "Scale: in 60 % of the memory": limited},
        {"Scale: GPT-2 small, 4 x 256 tokens": gpt2, "Scale: GPT-2 medium, 4 x 256 tokens": medium},
    )
