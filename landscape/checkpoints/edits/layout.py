"""The bytes of the files that an edit writes, and where the bytes of the original files are in them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from landscape.checkpoints.checkpoint import Checkpoint
from landscape.checkpoints.edits.casting import tensor_bytes
from landscape.checkpoints.edits.segments import Assembly, Segment, ranges_between, segments_covering
from landscape.checkpoints.formats import archive, safetensors_format
from landscape.checkpoints.formats.contents import Contents, Place
from landscape.checkpoints.formats.tensor_refs import TensorRef
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY
from landscape.errors import CheckpointError, listing
from landscape.storage import paths
from landscape.storage.safetensors_order import sorted_metadata

CHECKPOINT_KINDS = (None, "edited checkpoint", "undo file")  # kinds of files that belong to a checkpoint
Pieces = Iterable[bytes | memoryview]


@dataclass(frozen=True)
class EditLayout:
    """The pieces of each file that an edit writes, by name, and the segments of each original file in them."""

    written: Mapping[str, Pieces]
    originals: Mapping[Path, tuple[Segment, ...]]


def patch_layout(contents: Contents, values: Mapping[str, Tensor], output: Path, sha256: str) -> EditLayout:
    """The layout of copies of safetensors files in which some tensors, given by their keys, have new bytes.

    The header of a copy is marked with the original checkpoint's `sha256`. The other files of a directory are copied
    as they are. Raises CheckpointError for tensors of another size than the file declares.
    """
    alone = not contents.path.is_dir()
    written: dict[str, Pieces] = {}
    originals = {}
    for file in [contents.path] if alone else _files(contents.path):
        if file.name == paths.UNDO_INSIDE and not alone:  # the undo file of an earlier edit: the copy has its own
            originals[file] = segments_covering(file.stat().st_size, [])
            continue
        inside = {key: values[key] for key in values if contents.places[key].file == file}
        if inside or alone:
            originals[file], copy = _patch(file, len(written), inside, sha256)
        else:
            size = file.stat().st_size
            originals[file] = segments_covering(size, [(0, Segment(len(written), 0, size))])
            copy = Assembly(segments_covering(size, [(0, Segment(0, 0, size))]), b"")
        written[output.name if alone else file.name] = copy.pieces([file])
    return EditLayout(written, originals)


def conversion_layout(
    contents: Contents,
    checkpoint: Checkpoint,
    refs: Mapping[str, TensorRef],
    values: Mapping[str, Tensor],
    output: Path,
) -> EditLayout:
    """The layout of one safetensors file that replaces a file of torch: weights, description and extras.

    The header is marked with the original's sha256. Raises CheckpointError for dtypes that safetensors lacks.
    """
    state = checkpoint.tensors | {f"{DATA_KEY}.{name}": tensor for name, tensor in checkpoint.extras.items()}
    known = {**refs, **{f"{DATA_KEY}.{name}": contents.tree[DATA_KEY][name] for name in checkpoint.extras}}
    odd = sorted({ref.dtype for ref in known.values()} - set(safetensors_format.DTYPES.values()))
    if odd:
        raise CheckpointError(
            f"{contents.path} holds {listing(odd)}, which safetensors cannot", fix="save such tensors in another dtype"
        )
    about = {paths.EDIT_KEY: checkpoint.sha256} | ({SPEC_KEY: checkpoint.spec.to_json()} if checkpoint.spec else {})
    tensors = {name: values.get(name, tensor).contiguous().clone() for name, tensor in state.items()}
    content = b"".join(sorted_metadata(save(tensors, about)))
    begins = {name: begin for name, (begin, _) in safetensors_format.tensor_ranges(io.BytesIO(content)).items()}
    # a storage is in the new file if an unchanged tensor is all of it, in the order of its rows
    whole = {
        known[name].storage.key: Segment(0, begins[name], tensor.nbytes)
        for name, tensor in state.items()
        if name not in values
        and tensor.is_contiguous()
        and tensor.nbytes == known[name].storage.nbytes
        and contents.places[known[name].storage.key].is_plain
    }
    found = [(_begin(contents.places[key]), segment) for key, segment in whole.items()]
    return EditLayout({output.name: [content]}, {contents.path: segments_covering(contents.path.stat().st_size, found)})


def _patch(file: Path, source: int, values: Mapping[str, Tensor], sha256: str) -> tuple[tuple[Segment, ...], Assembly]:
    """The segments of a file in its patched copy, which is the source of that number, and how to assemble the copy."""
    with file.open("rb") as stream:
        ranges = safetensors_format.tensor_ranges(stream)
        old_header, new_header = safetensors_format.headers_with_metadata(stream, {paths.EDIT_KEY: sha256})
    wrong = [key for key, tensor in values.items() if ranges[key][1] != tensor.nbytes]
    if wrong:
        raise CheckpointError(f"{file} is damaged: {listing(wrong)} has another size", fix="copy it again")
    size, shift = file.stat().st_size, len(new_header) - len(old_header)
    patches = sorted((ranges[key], tensor_bytes(tensor)) for key, tensor in values.items())
    kept = list(ranges_between(size, [(0, len(old_header)), *(where for where, _ in patches)]))
    original = segments_covering(size, [(begin, Segment(source, begin + shift, length)) for begin, length in kept])
    copy = segments_covering(size + shift, [(begin + shift, Segment(0, begin, length)) for begin, length in kept])
    return original, Assembly(copy, b"".join([new_header, *(new for _, new in patches)]))


def _begin(place: Place) -> int:
    """The offset of a storage's bytes in its file."""
    if place.member is None:
        return place.begin
    with place.file.open("rb") as file:
        return archive.content_offset(file, place.member, place.file)


def _files(directory: Path) -> list[Path]:
    """The files of a directory that are copied: all but results of landscape. Raises CheckpointError for links out."""
    entries = [entry for entry in sorted(directory.iterdir()) if entry.is_file()]
    files = [entry for entry in entries if paths.file_kind(entry) in CHECKPOINT_KINDS]
    for file in files:
        safetensors_format.require_inside(file, directory)
    return files
