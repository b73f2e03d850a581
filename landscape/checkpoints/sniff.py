"""What a file is, decided by its bytes and not by its name."""

from __future__ import annotations

from pathlib import Path

from landscape.errors import CheckpointError

SAFETENSORS = "safetensors"
TORCH_ZIP = "torch"
TORCH_LEGACY = "torch (legacy)"

HEADER = 512  # bytes that every signature below fits in
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number as its old writer pickled it

NOT_CHECKPOINTS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", "gunzip it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "results of landscape are shown by: landscape show FILE"),
    (b"GGUF", "a GGUF file (quantised weights)", "use the original safetensors weights"),
    (b"version https://git-lfs", "a git-lfs pointer, not the weights themselves", "git lfs pull"),
    (b"BZh", "a bzip2 archive", "bunzip2 it first"),
    (b"\x89PNG", "a picture", "pass the checkpoint"),
)


def sniff(path: Path) -> str:
    """The format of the file: `safetensors`, `torch` or `torch (legacy)`.

    Raises CheckpointError that says what the file is instead, or why it cannot be read.
    """
    head = _head(path)
    if not head:
        raise CheckpointError(f"{path} is empty", fix="save the checkpoint again; the disk may have been full")
    for signature, what, fix in NOT_CHECKPOINTS:
        if head.startswith(signature):
            raise CheckpointError(f"{path} is {what}, not a checkpoint", fix=fix)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path} is an HTML page, not a checkpoint", why="a download that asked for a login?")
    if head.startswith(b"PK\x03\x04"):
        return TORCH_ZIP
    if _is_safetensors(head, path.stat().st_size):
        return SAFETENSORS
    if head.startswith(LEGACY_MAGIC):
        return TORCH_LEGACY
    if head[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is a bare pickle, which runs code when it is opened",
            why="landscape opens checkpoints as data only",
            fix="save the weights with torch.save(model.state_dict(), path)",
        )
    raise CheckpointError(
        f"{path} is not a checkpoint: it starts with {head[:8]!r}",
        fix="a file written by torch.save or safetensors",
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}", fix="check the path") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a directory", fix="name a checkpoint file inside it") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror}") from error


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of header length that fits the file, then JSON."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= size - 8
