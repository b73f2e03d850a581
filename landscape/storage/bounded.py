"""Small files whose content is read whole: never a pipe, a device or a file of absurd size in their place."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises OSError, whose `strerror` says what is wrong, for other files, and for names that no file can have.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {special_file(status.st_mode)}", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, and at most {limit:,} are read", str(path))
        with path.open("rb") as file:
            return file.read(limit)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no file has such a name ({error})", str(path)) from error


def special_file(mode: int) -> str:
    """What a file is whose mode (`st_mode`) says that it is no regular file."""
    kinds = {stat.S_ISDIR: "a directory", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((words for is_kind, words in kinds.items() if is_kind(mode)), "a device")
