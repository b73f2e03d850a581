"""Drafts that killed processes left behind, and which nobody will finish."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from landscape.storage.processes import start_time


def remove_stale_drafts(folder: Path, names: re.Pattern[str]) -> None:
    """Removes the drafts in a folder whose names fit the pattern and whose process has ended.

    The first group of the pattern is the number of the process. What cannot be removed stays.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        stale = [entry for entry in entries if (found := names.fullmatch(entry.name)) and not start_time(int(found[1]))]
        for entry in stale:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
