"""Text files as data: the tokens of a Hugging Face directory's tokenizer, in sequences of one length or padded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from landscape.checkpoints import json_data
from landscape.checkpoints.formats.directories import CONFIG_FILE
from landscape.checkpoints.huggingface import INSTALL
from landscape.compute.budget import room
from landscape.compute.out_of_memory import ENDS_OF_PROGRAMS, is_out_of_memory
from landscape.conditions import HUGGING_FACE, TEXT_FILES
from landscape.errors import LandscapeError, TaskError, listing, safe_excerpt
from landscape.losses.protocol import IGNORE_INDEX
from landscape.plugins.optional import import_optional
from landscape.tasks.documents import Document, read_documents

TOKENIZER_FILE = "tokenizer.json"
MAX_TOKENIZER_BYTES = 1 << 28
MAX_CONFIG_BYTES = 1 << 22
SEQUENCE = 512  # tokens of a sequence by default, or the model's own limit if it is shorter
BATCH = 32  # sequences of a batch: the micro-batch is planned by memory
TOGETHER = 64  # documents that are tokenized at once
BYTES_PER_LETTER = 8  # of tokens and labels: at most one token for each letter of most tokenizers, half of them usual
NEXT_TOKEN = ("ForCausalLM", "LMHeadModel")  # endings of architectures whose loss needs no labels but the text


@dataclass(frozen=True)
class TextSettings:
    """How text files become data: the directory of the tokenizer, and the options of sequences.

    `directory` is the checkpoint's, or that of its file; None if it has none.
    """

    directory: Path | None = None
    tokenizer: str | None = None
    text_field: str | None = None
    seq_len: int | None = None
    padded: bool = False
    limit: int | None = None


@dataclass
class TextData:
    """The batches of a text file, and a note on what it held."""

    batches: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self.batches


def is_text_file(name: str) -> bool:
    """Whether the name of data is that of a text file."""
    return Path(name).suffix in TEXT_FILES


def text_settings(conditions: Mapping[str, Any], checkpoint: Path | None, *, limit: int | None = None) -> TextSettings:
    """The settings that the conditions of a measurement give for a checkpoint."""
    model = conditions.get("model") or ""
    named = Path(model.removeprefix(HUGGING_FACE)) if model.startswith(HUGGING_FACE) else checkpoint
    directory = named.parent if named is not None and named.is_file() else named
    options = {name: conditions.get(name) for name in ("tokenizer", "text_field", "seq_len")}
    return TextSettings(directory, **options, padded=bool(conditions.get("padded")), limit=limit)


def read_text(path: Path, settings: TextSettings) -> TextData:
    """The batches of a text file: `input_ids` and `labels`, padded ones with their `attention_mask` and columns.

    With a limit no more is read than it needs. Raises TaskError, with the remedy, for a tokenizer, a model or a text
    that cannot be used.
    """
    config = _config(settings.directory)
    _require_next_token(config, path)
    file, tokenizer = _tokenizer(path, settings)
    length = _length(config, settings)
    _require_room(path, settings)
    counts = _Counts()
    documents = read_documents(path, settings.text_field, by_line=settings.padded)
    tokens = _tokenize(documents, file, tokenizer, counts)
    sequences = _pad(tokens, length, counts) if settings.padded else _pack(tokens, length, counts)
    kept = list(islice(sequences, settings.limit))
    if not kept or all(len(one.ids) < 2 for one in kept):
        raise _too_short(path, counts, length, padded=settings.padded)
    stopped = settings.limit is not None and len(kept) == settings.limit
    _require_vocabulary(config, kept, settings)
    columns = sorted(set.intersection(*(set(one.columns) for one in kept)))
    parts = [kept[at : at + BATCH] for at in range(0, len(kept), BATCH)]
    batches = [_batch(part, columns, config, padded=settings.padded) for part in parts]
    return TextData(batches, counts.note(path, kept, length, stopped=stopped, padded=settings.padded))


@dataclass
class _Sequence:
    """The token ids of a sequence, and the columns of the document it is."""

    ids: list[int]
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Counts:
    """What was read, and what of it is in no sequence."""

    documents: int = 0
    tokens: int = 0
    longest: int = 0  # tokens of a document
    left_over: int = 0

    def note(self, path: Path, kept: list[_Sequence], length: int, *, stopped: bool, padded: bool) -> str:
        """The note on documents, tokens and sequences."""
        if stopped:
            read = f"the beginning of {path.name}, as far as --limit needs it"
        else:
            read = f"{self.documents:,} document{'s' * (self.documents != 1)} of {path.name}, {self.tokens:,} tokens"
        form = f"padded, at most {length} tokens each" if padded else f"of {length} tokens"
        rest = f", {self.left_over:,} tokens left over" if self.left_over and not stopped else ""
        return f"text: {read}, in {len(kept):,} sequence{'s' * (len(kept) != 1)} {form}{rest}"


def _tokenize(documents: Iterable[Document], file: Path, tokenizer: Any, counts: _Counts) -> Iterator[_Sequence]:
    """The tokens of each document that has any, with the special tokens that the tokenizer itself adds."""
    iterator = iter(documents)
    while several := list(islice(iterator, TOGETHER)):
        with _reraising_errors(file):
            encodings = tokenizer.encode_batch([one.text for one in several])
        for document, encoding in zip(several, encodings, strict=True):
            counts.documents += 1
            counts.tokens += len(encoding.ids)
            counts.longest = max(counts.longest, len(encoding.ids))
            if encoding.ids:
                yield _Sequence(encoding.ids, document.columns)


def _pack(documents: Iterable[_Sequence], length: int, counts: _Counts) -> Iterator[_Sequence]:
    """Sequences of `length` tokens, cut out of all documents one after the other."""
    buffer: list[int] = []
    for document in documents:
        buffer += document.ids
        whole = len(buffer) // length * length
        for at in range(0, whole, length):
            yield _Sequence(buffer[at : at + length])
        buffer = buffer[whole:]
    counts.left_over = len(buffer)


def _pad(documents: Iterable[_Sequence], length: int, counts: _Counts) -> Iterator[_Sequence]:
    """A sequence for each document: its first `length` tokens."""
    for document in documents:
        counts.left_over += max(len(document.ids) - length, 0)
        yield _Sequence(document.ids[:length], document.columns)


def _batch(
    sequences: list[_Sequence], columns: list[str], config: Mapping[str, Any], *, padded: bool
) -> dict[str, Any]:
    """One batch; padding has no labels, and the columns that all documents have stand beside the tokens."""
    longest = max(len(one.ids) for one in sequences)
    padding = config.get("pad_token_id")
    filler = padding if isinstance(padding, int) else 0
    ids = torch.tensor([one.ids + [filler] * (longest - len(one.ids)) for one in sequences])
    mask = torch.tensor([[1] * len(one.ids) + [0] * (longest - len(one.ids)) for one in sequences])
    named = {name: [str(one.columns[name]) for one in sequences] for name in columns}
    masks = {"attention_mask": mask} if padded else {}
    return {**named, "input_ids": ids, **masks, "labels": ids.masked_fill(mask == 0, IGNORE_INDEX)}


def _config(directory: Path | None) -> dict[str, Any]:
    """The numbers of the model's config.json, as data; empty without one."""
    path = (directory or Path()) / CONFIG_FILE
    if directory is None or not path.is_file():
        return {}
    content = json_data.parse_json(path.read_bytes() if path.stat().st_size <= MAX_CONFIG_BYTES else None, path)
    return content if isinstance(content, dict) else {}


def _require_next_token(config: Mapping[str, Any], path: Path) -> None:
    """Raises TaskError for a model whose loss needs labels that a text does not have."""
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if names and not any(name.endswith(NEXT_TOKEN) for name in names):
        raise TaskError(
            f"{path} is text alone, and {listing(names)} is no model of the next token: its loss needs labels",
            fix="--data FILE.py:function that yields dictionaries with labels",
        )


def _tokenizer(path: Path, settings: TextSettings) -> tuple[Path, Any]:
    """The tokenizer and its file, read as data; raises TaskError with the remedy if there is none."""
    place = Path(settings.tokenizer) if settings.tokenizer else settings.directory
    if place is None:
        raise TaskError(
            f"{path} is text, and no tokenizer is named", fix=f"--tokenizer DIR, a directory with a {TOKENIZER_FILE}"
        )
    file = place / TOKENIZER_FILE if place.is_dir() else place
    if not file.is_file():
        raise TaskError(
            f"there is no {TOKENIZER_FILE} in {place}" if place.is_dir() else f"there is no file {file}",
            fix=f"--tokenizer DIR; transformers.AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR) writes "
            f"{TOKENIZER_FILE}",
        )
    library = import_optional("tokenizers", str(path), INSTALL, TaskError)
    with _reraising_errors(file):
        if file.stat().st_size > MAX_TOKENIZER_BYTES:
            raise ValueError(f"it has {file.stat().st_size:,} bytes")
        tokenizer = library.Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return file, tokenizer


@contextmanager
def _reraising_errors(file: Path) -> Iterator[None]:
    """Raises TaskError, with the tokenizer's file, in place of an error of the library, which may also panic."""
    try:
        yield
    except BaseException as error:  # a panic is no Exception
        if isinstance(error, (LandscapeError, *ENDS_OF_PROGRAMS)) or is_out_of_memory(error):
            raise
        raise TaskError(
            f"{file} is no tokenizer: {safe_excerpt(str(error))}", fix="download it again, or --tokenizer DIR"
        ) from error


def _length(config: Mapping[str, Any], settings: TextSettings) -> int:
    """The tokens of a sequence; raises TaskError for more than the model has positions."""
    sizes = [config.get(name) for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")]
    own = next((size for size in sizes if isinstance(size, int) and size > 1), None)
    if settings.seq_len is None:
        return min(SEQUENCE, own or SEQUENCE)
    if own is not None and settings.seq_len > own:
        raise TaskError(
            f"--seq-len {settings.seq_len} is more than the {own} positions of the model", fix=f"--seq-len {own}"
        )
    return settings.seq_len


def _require_room(path: Path, settings: TextSettings) -> None:
    """Raises TaskError for a file whose tokens would not fit into memory, unless a limit says how many are needed."""
    size = path.stat().st_size if path.is_file() else 0
    if settings.limit is None and size * BYTES_PER_LETTER > room("data", torch.device("cpu")) * 2:
        raise TaskError(
            f"{path} has {size / 1e9:.1f} GB, whose tokens may not fit into memory",
            fix="--limit N reads no more than the first N sequences need",
        )


def _too_short(path: Path, counts: _Counts, length: int, *, padded: bool) -> TaskError:
    if counts.tokens == 0:
        return TaskError(f"{path} is empty: it gave no token", fix="check the file, and --text-field")
    if padded or counts.tokens < 2:
        return TaskError(
            f"no document of {path} that is read has two tokens: there is no next one to predict",
            fix="a longer text" if counts.documents == 1 else "longer documents, or --limit N of more",
        )
    remedy = f"--seq-len {counts.tokens}{', or --padded' if counts.longest > 1 else ''}"
    return TaskError(f"{path} has {counts.tokens} tokens, too few for one sequence of {length}", fix=remedy)


def _require_vocabulary(config: Mapping[str, Any], kept: list[_Sequence], settings: TextSettings) -> None:
    """Raises TaskError if the tokenizer gives ids that the model does not have."""
    size = config.get("vocab_size")
    largest = max(max(one.ids) for one in kept)
    if isinstance(size, int) and largest >= size:
        raise TaskError(
            f"the tokenizer gives token {largest}, and the model has {size}",
            why=f"the tokenizer of {settings.tokenizer or settings.directory} is another model's",
            fix="--tokenizer DIR of the model",
        )
