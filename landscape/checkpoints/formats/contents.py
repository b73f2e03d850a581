"""A checkpoint's description, without its bytes: names, shapes, dtypes, and where they are. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.checkpoints.formats.archive import Member
from landscape.checkpoints.formats.format import Format
from landscape.checkpoints.formats.parts import Part
from landscape.checkpoints.formats.pickle_values import LongText
from landscape.checkpoints.spec import SPEC_KEY, Spec
from landscape.errors import CheckpointError


@dataclass(frozen=True)
class Shard:
    """A chunk of a tensor: an archive of it in a range of a file, and its offsets and sizes in the tensor."""

    part: Part
    offsets: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """The place of a storage's bytes: an offset in a file, or in a member of a zip archive, which has a checksum.

    `text` has the size of bytes below 256 that are written as UTF-8, `content` bytes that stand in the description, and
    `shards` the chunks that make up the tensor. `part` is the range of the file that is an archive of its own.
    """

    file: Path
    begin: int = 0
    member: Member | None = None
    text: int = 0
    content: bytes | None = None
    shards: tuple[Shard, ...] = ()
    part: Part | None = None

    @property
    def source(self) -> Path | Part:
        """The file, or the part of it in which the member is."""
        return self.part or self.file

    @property
    def is_plain(self) -> bool:
        """Whether the storage's bytes stand in the file as they are, one after the other."""
        return not self.text and self.content is None and not self.shards


@dataclass(frozen=True)
class Contents:
    """A checkpoint's description: `tree` is what it holds, with a `TensorRef` for each tensor.

    `places` holds the place of each storage by its key; of safetensors files only the file.
    `metadata` is the description of itself in a safetensors header, `bystanders` the kinds of Python objects that were
    passed over, `stamp` the size and time of change of each file.
    """

    path: Path
    format: Format
    files: tuple[Path, ...]
    tree: Any
    places: Mapping[str, Place]
    metadata: str | None = None
    bystanders: tuple[str, ...] = ()
    stamp: tuple[tuple[int, int], ...] = field(default=())

    @property
    def nbytes(self) -> int:
        """The sum of the sizes of the files."""
        return sum(size for size, _ in self.stamp)

    @property
    def spec(self) -> Spec | None:
        """The checkpoint's description of itself; raises CheckpointError if it is malformed."""
        text = self.tree.get(SPEC_KEY) if self.metadata is None and isinstance(self.tree, dict) else self.metadata
        if isinstance(text, LongText):
            raise CheckpointError(
                f"{self.path}: its description of itself has {text.size:,} bytes",
                fix="save it again with landscape.save",
            )
        return Spec.from_json(text, str(self.path)) if isinstance(text, str) else None

    def require_unchanged(self) -> None:
        """Raises CheckpointError if a file was written to after it was described."""
        if file_stamps(self.files) != self.stamp:
            raise CheckpointError(
                f"{self.path} changed while it was read", fix="copy it where nothing writes to it, and measure the copy"
            )


def file_stamps(files: tuple[Path, ...]) -> tuple[tuple[int, int], ...]:
    """Size and time of change of each file."""
    known = [os.stat(file) for file in files]
    return tuple((one.st_size, one.st_mtime_ns) for one in known)
