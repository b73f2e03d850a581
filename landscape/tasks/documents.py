"""The documents of a text file: `.txt`, `.jsonl` or `.parquet`, read one after the other, as far as they are needed."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from landscape.errors import TaskError, listing, safe_excerpt
from landscape.plugins.optional import import_optional

PIECE = 4 << 20  # letters of a `.txt` file that are one document: a tokenizer takes a hundred times their memory
ROWS = 256  # of a parquet file that are read at once
DEFAULT_FIELD = "text"
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
PARQUET = "pip install 'loss-landscape-geometry[parquet]' (pyarrow), or the same rows as .jsonl"


@dataclass(frozen=True)
class Document:
    """A text, and the words and numbers that stand beside it in its row."""

    text: str
    columns: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def read_documents(path: Path, text_field: str | None, *, by_line: bool) -> Iterator[Document]:
    """The documents of a file, in order.

    A `.txt` file is one document (a long one is read in pieces that end at lines), or with `by_line` each of its lines.
    In the other formats each row has its text in `text_field`. Raises TaskError, with the line, for what cannot be
    read.
    """
    if not path.is_file():
        raise TaskError(f"there is no file {path}", fix="check the path of --data")
    if path.suffix == ".parquet":
        yield from _parquet(path, text_field or DEFAULT_FIELD)
        return
    if path.suffix == ".txt" and text_field is not None:
        raise TaskError(f"--text-field {text_field}: {path} has no fields", fix="leave --text-field out")
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _jsonl(path, file, text_field) if path.suffix == ".jsonl" else _plain(file, by_line=by_line)
    except UnicodeDecodeError as error:
        with path.open("rb") as file:
            encoding = "UTF-16" if file.read(2) in UTF_16_MARKS else "LATIN1"
        raise TaskError(
            f"{path} is no UTF-8 text: byte {error.object[error.start]:#04x} is none of its letters",
            fix=f"iconv -f {encoding} -t UTF-8 {path} > text-utf8{path.suffix}",
        ) from error
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}", fix="check its permissions") from error


def _plain(file: TextIO, *, by_line: bool) -> Iterator[Document]:
    if by_line:
        lines = (line.rstrip("\n") for line in file)
        yield from (Document(line) for line in lines if line.strip())
        return
    while piece := file.read(PIECE):
        yield Document(piece + (file.readline(PIECE) if len(piece) == PIECE else ""))


def _jsonl(path: Path, file: TextIO, text_field: str | None) -> Iterator[Document]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{where} is no JSON: {error}", fix="one JSON object in each line") from error
        if not isinstance(row, dict):
            raise TaskError(f"{where} is a {type(row).__name__}, not an object with fields", fix='{"text": "..."}')
        yield _document(where, row, text_field or DEFAULT_FIELD)


def _parquet(path: Path, text_field: str) -> Iterator[Document]:
    library = import_optional("pyarrow.parquet", str(path), PARQUET, TaskError)
    try:
        file = library.ParquetFile(path)
        batches = file.iter_batches(batch_size=ROWS)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield _document(f"{path}, row {number}", row, text_field)
    except TaskError:
        raise
    except Exception as error:  # pyarrow may raise anything on damaged bytes
        raise TaskError(
            f"{path} is no parquet file: {type(error).__name__}: {safe_excerpt(str(error))}", fix="download it again"
        ) from error


def _document(where: str, row: Mapping[str, Any], text_field: str) -> Document:
    """The document of a row; raises TaskError if the field is missing or holds no text."""
    if text_field not in row:
        words = [name for name, value in row.items() if isinstance(value, str)]
        raise TaskError(
            f"{where} has no field {safe_excerpt(text_field)}",
            why=f"its fields with text: {listing(map(safe_excerpt, words)) or 'none'}",
            fix=f"--text-field {safe_excerpt(words[0])}" if words else 'rows with a field of text: {"text": "..."}',
        )
    text = row[text_field]
    if not isinstance(text, str):
        kind = "null" if text is None else f"a {type(text).__name__}"
        raise TaskError(
            f"{where}: field {safe_excerpt(text_field)} is {kind}, not a text",
            fix="leave rows without text out, or name another --text-field",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TaskError(
            f"{where}: field {safe_excerpt(text_field)} holds half of a letter, a surrogate without its pair",
            fix="leave the row out, or repair it: text.encode('utf-8', 'replace').decode()",
        ) from error
    plain = {name: value for name, value in row.items() if isinstance(value, str | int | float | bool)}
    return Document(text, {name: value for name, value in plain.items() if name != text_field})
