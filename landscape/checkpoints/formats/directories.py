"""Directories of safetensors files: shards, and what save_pretrained of transformers writes. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from landscape.checkpoints import json_data
from landscape.checkpoints.formats.contents import Contents
from landscape.checkpoints.formats.format import Candidate, Format
from landscape.checkpoints.formats.safetensors_format import describe_files, fetch_safetensors, require_inside
from landscape.errors import CheckpointError, listing, safe_excerpt
from landscape.storage.bounded import read_bounded

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
CONFIG_FILE = "config.json"
ADAPTER_FILE, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_FILE_NAME = 255  # bytes
MAX_INDEX_SIZE = 1 << 24  # bytes: the index of a hundred thousand tensors has ten million


def _describe_shards(path: Path) -> Contents:
    """The description of a directory of shards; raises CheckpointError if files are missing, damaged or elsewhere."""
    shards = _shards(path)
    return describe_files(path, SHARDED, shards, shards)


def _describe_hugging_face(path: Path) -> Contents:
    """The description of a directory with a config.json, which is among the files that are hashed."""
    shards = _shards(path)
    return describe_files(path, HUGGING_FACE, shards, (*shards, path / CONFIG_FILE))


def _describe_adapter(path: Path) -> Contents:
    """The description of what PEFT's save_pretrained writes; raises CheckpointError for links that leave it."""
    files = path / ADAPTER_FILE, path / ADAPTER_CONFIG
    for file in files:
        require_inside(file, path)
    return describe_files(path, ADAPTER, files[:1], files)


def _shards(path: Path) -> tuple[Path, ...]:
    """The safetensors files of a directory, by its index if it has one; raises CheckpointError for links that leave it.

    A cache of the Hugging Face hub keeps its files as links into its own folder of blobs: these links are followed.
    """
    index = path / INDEX_FILE
    names = _files_in_index(index) if index.exists() and not (path / WEIGHTS_FILE).exists() else [WEIGHTS_FILE]
    shards = tuple(path / name for name in names)
    for file in (*shards, *(path / name for name in (CONFIG_FILE, INDEX_FILE) if (path / name).is_symlink())):
        require_inside(file, path)
        if not file.is_file():
            raise CheckpointError(f"{path} is incomplete: there is no {file.name}", fix="download it again")
    return shards


def _files_in_index(index: Path) -> list[str]:
    """The files that an index of shards names; raises CheckpointError for a name outside its directory."""
    try:
        content = read_bounded(index, MAX_INDEX_SIZE)
    except OSError as error:
        raise CheckpointError(f"{index} cannot be read: {error.strerror}", fix="download it again") from error
    document = json_data.parse_json(content, index)
    files = document.get("weight_map") if isinstance(document, dict) else None
    texts = isinstance(files, dict) and all(isinstance(value, str) for value in files.values())
    names = list(dict.fromkeys(files.values())) if isinstance(files, dict) and texts else []
    outside = [safe_excerpt(name) for name in names if not is_file_name(name)]
    if outside or not names:
        raise CheckpointError(
            f"{index} names files that cannot be in its directory: {listing(outside) or 'none'}",
            fix="download it again",
        )
    return sorted(names)


def is_file_name(name: str) -> bool:
    """Whether a text can be the name of a file in a directory, on any system."""
    encoded = name.encode(errors="replace")
    no_path = Path(name).name == name and name not in ("", "..")
    return no_path and name.isprintable() and len(encoded) <= MAX_FILE_NAME


def _holds_shards(candidate: Candidate) -> bool:
    return bool({WEIGHTS_FILE, INDEX_FILE} & candidate.folder_names)


SHARDED = Format("safetensors directory", _holds_shards, _describe_shards, fetch_safetensors, editable=True)
HUGGING_FACE = Format(
    "Hugging Face directory",
    lambda candidate: _holds_shards(candidate) and CONFIG_FILE in candidate.folder_names,
    _describe_hugging_face,
    fetch_safetensors,
    editable=True,
    describes_model=True,
)
ADAPTER = Format(
    "PEFT adapter directory",
    lambda candidate: {ADAPTER_FILE, ADAPTER_CONFIG} <= candidate.folder_names and not _holds_shards(candidate),
    _describe_adapter,
    fetch_safetensors,
    adapts_model=True,
)
