"""The sha256 of files, and of files that are not written yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def pieces_sha256(pieces: Iterable[bytes | memoryview]) -> str:
    """The sha256 of the concatenated pieces, in hexadecimal."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
