"""Files that are often taken for checkpoints by mistake, known by their first bytes. Needs no torch."""

from __future__ import annotations

from landscape.checkpoints.formats.format import Candidate
from landscape.errors import CheckpointError

FOREIGN_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", "gunzip it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "results of landscape are shown by: landscape show FILE"),
    (b"GGUF", "a GGUF file (quantized weights)", "use the original safetensors weights"),
    (b"version https://git-lfs", "a git-lfs pointer, not the weights themselves", "git lfs pull"),
    (b"BZh", "a bzip2 archive", "bunzip2 it first"),
    (b"\xfd7zXZ", "an xz archive", "unxz it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unzstd it first"),
    (b"\x89PNG", "a picture", "pass the checkpoint"),
)  # the first bytes of files that are taken for checkpoints by mistake, what they are, and what to do


def require_not_foreign(candidate: Candidate) -> None:
    """Raises CheckpointError for empty files, and for files of a kind that is often taken for a checkpoint."""
    path, head = candidate.path, candidate.head
    if not head:
        raise CheckpointError(f"{path} is empty", fix="save the checkpoint again; the disk may have been full")
    for signature, what, fix in FOREIGN_SIGNATURES:
        if head.startswith(signature):
            raise CheckpointError(f"{path} is {what}, not a checkpoint", fix=fix)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            f"{path} is an HTML page, not a checkpoint",
            why="a download that asked for a login?",
            fix="download it again, signed in or with the address of the file itself",
        )
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{path} is a tar archive, not a checkpoint", fix=f"tar -xf {path}, then name a file")
