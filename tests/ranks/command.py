"""A script for ranks: the command with its arguments, with snapshots after every step and faults that are asked for."""

from __future__ import annotations

import os
import resource
import sys

from landscape.compute import ranks
from landscape.session import unfinished
from landscape_cli.launch import silence_other_ranks
from landscape_cli.main import status

ranks.MEETING = float(os.environ.get("MEETING", ranks.MEETING))
if "FAULT" in os.environ:  # its work is to be resumed
    unfinished.MIN_SECONDS_AT_STAKE = 0.0
    unfinished.SNAPSHOT_INTERVAL = 0
if os.environ.get("FULL_DISK") == os.environ["RANK"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
silence_other_ranks()
code = status(sys.argv[1:])
sys.stdout.flush()
os._exit(code)
