"""Writes histories: HDF5 with the dimension `step`, variables in the root, which xarray opens as a data set."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.storage.write import write_root

if TYPE_CHECKING:
    from landscape.history.history import History

KIND, HISTORY = "kind", "history"  # the attribute that tells histories from other files, and its value
QUANTITIES, DIGESTS = "quantities", "checkpoint_sha256"  # attributes that hold JSON


def write_history(history: History, path: Path) -> None:
    """Replaces the file by this history; raises OutputError if it cannot be written."""
    attributes = {
        **history.attributes,
        KIND: HISTORY,
        QUANTITIES: json.dumps({name: asdict(about) for name, about in history.quantities.items()}),
        DIGESTS: json.dumps([moment.sha256 for moment in history.moments]),
    }
    write_root(path, history.columns, attributes, history=" ".join(["landscape", *sys.argv[1:]]))
