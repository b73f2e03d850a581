"""The zip archives that torch writes, read strictly: stored members only, each once, none overlapping, all checked.

`torch.load` verifies no checksum (a flipped bit loads as 2.9e-37), inflates compressed members (511 KiB to 512 MiB)
and takes the last of two members of one name.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from landscape.checkpoints.formats.parts import Part
from landscape.errors import CheckpointError, listing

END_RECORD = 22  # bytes of the end record; torch.save writes no comment behind it
END_RECORD_64 = 98  # where its zip64 form begins, from the end of the file
LOCAL_HEADER = 30  # bytes of a member's own header, before its name
PIECE_BYTES = 1 << 20  # that are read at once
ENTRY_COST = 16  # bytes of memory that zipfile takes for one byte of directory, rounded up
COPY = "copy it again; a checkpoint that torch.save wrote has nothing of the kind"


@dataclass(frozen=True)
class Member:
    """A member of a zip archive: the offset of its header, its size in bytes and their checksum."""

    name: str
    header: int
    size: int
    crc: int


def zip_entries(path: Path | Part, allowance: int) -> list[zipfile.ZipInfo]:
    """The entries of a zip file's directory; `allowance` is the most memory that they may take.

    Raises CheckpointError if the directory is damaged or absurd.
    """
    directory = _directory_size(path)
    if directory * ENTRY_COST > allowance:
        raise CheckpointError(f"{path} is damaged: its directory alone has {directory:,} bytes", fix=COPY)
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as file:
            return file.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or truncated: its zip directory cannot be read", why=str(error), fix="copy it again"
        ) from error


def members(path: Path | Part, entries: list[zipfile.ZipInfo], *, rooted: bool = True) -> dict[str, Member]:
    """The members by name, without the archive's root folder if it has one.

    Raises CheckpointError for what torch never writes.
    """
    every = [entry.filename for entry in entries]
    _refuse(path, "several members of one name", [name for name, times in Counter(every).items() if times > 1])
    _refuse(path, "compressed members", [e.filename for e in entries if e.compress_type or e.flag_bits & 1])
    roots = sorted({name.partition("/")[0] for name in every})
    _refuse(path, "the members of several archives", roots if rooted and len(roots) > 1 else [])
    size = path.stat().st_size
    uneven = [e.filename for e in entries if e.file_size != e.compress_size]
    _refuse(path, "members with two different sizes", uneven)
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    overlapping = [b.filename for a, b in pairwise(ordered) if _least_end(a) > b.header_offset]
    beyond = [entry.filename for entry in ordered[-1:] if _least_end(entry) > size]
    _refuse(path, "members that overlap or lie beyond its end", overlapping + beyond)
    return {
        name.partition("/")[2] if rooted else name: Member(name, entry.header_offset, entry.file_size, entry.CRC)
        for name, entry in zip(every, entries, strict=True)
    }


def content_offset(file: BinaryIO, member: Member, path: Path | Part) -> int:
    """The offset of a member's bytes; raises CheckpointError if its own header contradicts the zip directory."""
    file.seek(member.header)
    header = file.read(LOCAL_HEADER)
    name_length, extra_length = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    if header[:4] != b"PK\x03\x04" or file.read(name_length) != member.name.encode():
        raise CheckpointError(f"{path} is damaged: its member {member.name} is not where its directory says", fix=COPY)
    return member.header + LOCAL_HEADER + name_length + extra_length


def read_member(path: Path | Part, member: Member) -> bytes:
    """The bytes of a small member; raises CheckpointError for a wrong checksum."""
    with path.open("rb") as file:
        file.seek(content_offset(file, member, path))
        read = file.read(member.size)
    require_crc(path, member, zlib.crc32(read))
    return read


def require_intact(path: Path | Part, member: Member) -> None:
    """Raises CheckpointError for a wrong checksum of a member, whose bytes are read piece by piece."""
    checksum, left = 0, member.size
    with path.open("rb") as file:
        file.seek(content_offset(file, member, path))
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    require_crc(path, member, checksum)


def require_crc(path: Path | Part, member: Member, found: int) -> None:
    """Raises CheckpointError if the checksum of a member's bytes is not the one in the directory."""
    if found != member.crc:
        raise CheckpointError(
            f"{path} is damaged: the bytes of {member.name} do not match their checksum",
            why="or it was saved under torch.serialization.set_crc32_options(False), without checksums",
            fix="copy it again, or save it with checksums",
        )


def _least_end(entry: zipfile.ZipInfo) -> int:
    """A lower bound on the offset at which the entry's bytes end."""
    return entry.header_offset + LOCAL_HEADER + len(entry.orig_filename.encode()) + entry.compress_size


def _refuse(path: Path | Part, what: str, offending: list[str]) -> None:
    if offending:
        raise CheckpointError(f"{path} holds {what}: {listing(sorted(offending))}", fix=COPY)


def _directory_size(path: Path | Part) -> int:
    """The size in bytes of the zip's central directory, from the record at the file's end.

    Raises CheckpointError if that record is missing or contradicts the 64-bit record.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - END_RECORD_64))
        tail = file.read()
    if len(tail) < END_RECORD or tail[-END_RECORD:-18] != b"PK\x05\x06":
        raise CheckpointError(
            f"{path} is damaged or truncated: it begins as a zip file and does not end as one", fix="copy it again"
        )
    short = int.from_bytes(tail[-10:-6], "little")
    if tail[-42:-38] != b"PK\x06\x07":
        return short
    if tail[:4] != b"PK\x06\x06" or int.from_bytes(tail[-34:-26], "little") != size - END_RECORD_64:
        raise CheckpointError(f"{path} is damaged: it declares two different zip directories", fix=COPY)
    return max(short, int.from_bytes(tail[40:48], "little"))
