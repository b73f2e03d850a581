"""What a process forked for a rank does first. Importing this module loads what ranks need, once for all of them."""

from __future__ import annotations

import os
import runpy
import sys
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

import h5py  # noqa: F401
import torch
import torch.distributed.checkpoint

import landscape_cli.main  # noqa: F401
from landscape.analyses import eig_measurement, trace_measurement  # noqa: F401


def run(words: Sequence[str], folder: str, environment: Mapping[str, str], out: Connection, err: Connection) -> None:
    """`python WORDS` in a folder and an environment, which writes into two pipes."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sys.argv = [*words]
    runpy.run_path(words[0], run_name="__main__")
