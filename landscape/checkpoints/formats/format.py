"""What a format of checkpoints is: how it is detected, described and read. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.checkpoints.formats import archive
from landscape.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.checkpoints.formats.contents import Contents
    from landscape.checkpoints.formats.tensor_refs import TensorRef

HEAD_BYTES = 512  # every signature that is looked for lies within them
WORKING_SPACE = 24 << 20  # bytes of memory that a description may take beyond twice the file's size
MAX_COUNTED_SIZE = 1 << 29  # bytes of a file beyond which its description may not grow further
ZIP_SIGNATURE = b"PK\x03\x04"


@dataclass(frozen=True)
class Candidate:
    """A file or directory that may be a checkpoint, with what its detection needs; read once."""

    path: Path

    @cached_property
    def folder_names(self) -> frozenset[str]:
        """The names in a directory; empty for a file."""
        return frozenset(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else frozenset()

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file, none of a directory; raises CheckpointError if it cannot be read."""
        if self.path.is_dir():
            return b""
        try:
            if not self.path.exists():
                raise FileNotFoundError
            if not self.path.is_file():  # opening a pipe would wait for its writer
                raise CheckpointError(
                    f"{self.path} is no regular file", fix="save the checkpoint to a file and name that"
                )
            with self.path.open("rb") as file:
                return file.read(HEAD_BYTES)
        except FileNotFoundError:
            raise CheckpointError(f"there is no file {self.path}", fix="check the path") from None
        except OSError as error:
            message = f"{self.path} cannot be opened: {error.strerror}"
            raise CheckpointError(message, fix="check its permissions") from error

    @cached_property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @cached_property
    def zip_members(self) -> frozenset[str]:
        """The names in a zip archive, without its root folder; empty for other files."""
        if not self.head.startswith(ZIP_SIGNATURE):
            return frozenset()
        entries = archive.zip_entries(self.path, description_allowance(self.size))
        return frozenset(entry.filename.partition("/")[2] or entry.filename for entry in entries)


def _fetch_nothing(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    raise NotImplementedError(f"tensors of {contents.format.name} are never read as data")


@dataclass(frozen=True)
class Format:
    """A format of checkpoints.

    `detect` tells it by the bytes or the names in a directory; `describe` reads its description as data, and raises
    CheckpointError for damaged files and for formats that run code; `fetch` reads tensors. A format is `editable` if an
    edit replaces bytes in copies of its files. `keeps_tree` is for nested Python values beside tensors, as torch.save
    keeps them; `describes_model` for directories whose config.json names an architecture; `adapts_model` for those
    with an adapter, whose model is in another directory.
    """

    name: str
    detect: Callable[[Candidate], bool]
    describe: Callable[[Path], Contents]
    fetch: Callable[[Contents, Mapping[str, TensorRef]], dict[str, Tensor]] = _fetch_nothing
    editable: bool = False
    keeps_tree: bool = False
    describes_model: bool = False
    adapts_model: bool = False


def description_allowance(size: int) -> int:
    """Bytes of memory that the description of a file of this size may take."""
    return WORKING_SPACE + 2 * min(size, MAX_COUNTED_SIZE)
