"""One product in a process whose memory is limited: run by products.py with (limit in bytes beyond the model, or 0)."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import torch
from torch import nn

from landscape import Objective
from landscape.compute.strategy import ProductSettings
from landscape.operators import HessianOperator

COLUMNS = 4


def virtual(key: str) -> int:
    """Bytes of this process' address space, now (VmSize) or at most (VmPeak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def main(limit: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 1024), nn.Tanh(), nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, 10))
    data = [(torch.randn(4000, 64), torch.randint(0, 10, (4000,)))]
    objective = Objective(net, data, "cross_entropy", device="cpu", micro_batch=4000, settings=ProductSettings("vmap"))
    operator, block = HessianOperator(objective), torch.randn(objective.space.size, COLUMNS)
    objective.gradient()  # what libraries allocate once
    before = virtual("VmSize")
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (before + limit, before + limit))
    for _ in range(2):  # the second with kept graphs, if they fit
        product = operator @ block
    strategy = operator.strategy(COLUMNS)
    assert strategy is not None
    found = {
        "bytes": virtual("VmPeak") - before,
        "micro-batch": objective.micro_batch,
        "columns at once": strategy.columns,
        "product": product[::99991].double().flatten().tolist(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
