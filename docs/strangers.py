"""Writes the table of docs/trust.md from the models, losses and data of tests/strangers: `python docs/strangers.py`.

With names of strangers it measures these, and those that the table does not have.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from strangers import table

if __name__ == "__main__":
    table.write(sys.argv[1:])
