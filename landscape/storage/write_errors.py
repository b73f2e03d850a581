"""What helps where nothing can be written, by what the system says."""

from __future__ import annotations

import errno
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "free some space, or raise the limit of the size of a file",
    errno.EROFS: "that file system is mounted read-only: mount it for writing",
    errno.ENAMETOOLONG: "a shorter name",
    errno.ENOTDIR: "name a folder, where a file is now",
}


def writing_remedy(error: Exception, folder: Path) -> str:
    """What helps where a file in this folder cannot be written; only a missing folder is to be made."""
    number = getattr(error, "errno", None)
    if isinstance(error, FileNotFoundError) and not folder.exists():
        return "make that folder"
    if isinstance(error, PermissionError):  # on Windows also of files that other programs have open
        return "allow writing there (rights, an immutable folder), close programs that have the file open"
    return REMEDIES.get(number or 0, "check the path, its rights, and the room on the disk")
