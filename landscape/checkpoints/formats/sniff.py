"""What a file or a directory is, decided by its bytes and not by its name."""

from __future__ import annotations

from pathlib import Path

from landscape.checkpoints.formats import archive
from landscape.errors import CheckpointError, listing

SAFETENSORS = "safetensors"
TORCH_ZIP = "torch"
TORCH_LEGACY = "torch (legacy)"
SHARDED = "safetensors directory"
HUGGING_FACE = "Hugging Face directory"
EXPORTED = "torch.export program"
TORCHSCRIPT = "TorchScript"
DISTRIBUTED = "distributed checkpoint"
PICKLE = "pickle"
RUN_CODE = (EXPORTED, TORCHSCRIPT, DISTRIBUTED, PICKLE)  # opening one runs what is in it

HEADER = 512  # bytes that every signature below fits in
WORKING_SPACE = 24 << 20  # bytes of memory that a description may take beyond twice the file's size
COUNTED = 1 << 29  # bytes of a file by which its description may grow
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number as its old writer pickled it
WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"

NOT_CHECKPOINTS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", "gunzip it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "results of landscape are shown by: landscape show FILE"),
    (b"GGUF", "a GGUF file (quantised weights)", "use the original safetensors weights"),
    (b"version https://git-lfs", "a git-lfs pointer, not the weights themselves", "git lfs pull"),
    (b"BZh", "a bzip2 archive", "bunzip2 it first"),
    (b"\xfd7zXZ", "an xz archive", "unxz it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unzstd it first"),
    (b"\x93NUMPY", "a NumPy array", "a checkpoint has tensors by name; save them with safetensors.numpy.save_file"),
    (b"\x89PNG", "a picture", "pass the checkpoint"),
)


def sniff(path: Path) -> str:
    """The format of a file or a directory: one of the words above.

    Raises CheckpointError that says what it is instead, or why it cannot be read.
    """
    if path.is_dir():
        return _directory(path)
    head = _head(path)
    if not head:
        raise CheckpointError(f"{path} is empty", fix="save the checkpoint again; the disk may have been full")
    for signature, what, fix in NOT_CHECKPOINTS:
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
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if _is_safetensors(head, path.stat().st_size):
        return SAFETENSORS
    if head.startswith(LEGACY_MAGIC):
        return TORCH_LEGACY
    if head[:1] == b"\x80":
        return PICKLE
    if path.name in (CONFIG, INDEX) or path.name.endswith(".index.json"):
        raise CheckpointError(f"{path} describes a checkpoint and is none", fix=f"name its directory: {path.parent}")
    raise CheckpointError(
        f"{path} is not a checkpoint: it starts with {head[:8]!r}",
        fix="a file written by torch.save or safetensors",
    )


def description_allowance(size: int) -> int:
    """Bytes of memory that the description of a file of this size may take."""
    return WORKING_SPACE + 2 * min(size, COUNTED)


def _head(path: Path) -> bytes:
    try:
        if not path.exists():
            raise FileNotFoundError
        if not path.is_file():  # opening a pipe would wait for its writer
            raise CheckpointError(f"{path} is no regular file", fix="save the checkpoint to a file and name that")
        with path.open("rb") as file:
            return file.read(HEADER)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}", fix="check the path") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror}", fix="check its permissions") from error


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of header length that fits the file, then JSON."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= size - 8


def _zip(path: Path) -> str:
    """Which of the formats that are zip archives it is, by the members."""
    entries = archive.zip_entries(path, description_allowance(path.stat().st_size))
    inside = {entry.filename.partition("/")[2] or entry.filename for entry in entries}
    if {"archive_format", "models/model.json"} & inside or "serialized_exported_program.json" in inside:
        return EXPORTED
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return TORCHSCRIPT
    if "data.pkl" in inside:
        return TORCH_ZIP
    if inside and all(name.endswith(".npy") for name in inside):
        raise CheckpointError(
            f"{path} is an npz archive of arrays, not a checkpoint", fix=f"as a batch to measure on: --data {path}"
        )
    raise CheckpointError(
        f"{path} is a zip archive that torch did not write: it holds {listing(sorted(inside)) or 'nothing'}",
        fix=f"unzip {path}, then name a checkpoint inside it",
    )


def _directory(path: Path) -> str:
    inside = {entry.name for entry in path.iterdir()}
    if {WEIGHTS, INDEX} & inside:
        return HUGGING_FACE if CONFIG in inside else SHARDED
    if ".metadata" in inside:
        return DISTRIBUTED
    if "adapter_config.json" in inside:
        raise CheckpointError(
            f"{path} is a PEFT adapter, not a whole model",
            fix="merge it once: model.merge_and_unload().save_pretrained(DIR), then landscape eig DIR",
        )
    if "model_index.json" in inside:
        parts = sorted(entry.name for entry in path.iterdir() if (entry / CONFIG).is_file())
        raise CheckpointError(
            f"{path} is a pipeline of several models", fix=f"name one of them: {listing(f'{path / p}' for p in parts)}"
        )
    found = sorted(name for name in inside if name.endswith((".safetensors", ".pt", ".pth", ".ckpt", ".bin")))
    found += sorted(entry.name for entry in path.iterdir() if (entry / WEIGHTS).exists() or (entry / INDEX).exists())
    raise CheckpointError(
        f"{path} is a directory without {WEIGHTS}",
        fix=f"name a checkpoint inside it: {listing(str(path / name) for name in found)}"
        if found
        else "name a checkpoint file",
    )
