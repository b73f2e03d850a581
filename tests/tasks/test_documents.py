"""Documents of text files: rows, lines and pieces, and what is no text."""

from __future__ import annotations

import codecs
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from landscape.errors import TaskError
from landscape.tasks import documents
from landscape.tasks.documents import read_documents


def texts(path: Path, text_field: str | None = None, *, by_line: bool = False) -> list[str]:
    return [document.text for document in read_documents(path, text_field, by_line=by_line)]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_plain_text_is_one_document_or_its_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "one two\n\nthree\n")
    assert texts(path) == ["one two\n\nthree\n"]
    assert texts(path, by_line=True) == ["one two", "three"]


def test_a_mark_of_byte_order_is_no_letter(tmp_path: Path) -> None:
    assert texts(written(tmp_path / "a.txt", b"\xef\xbb\xbfone")) == ["one"]


def test_a_long_text_is_read_in_pieces_that_end_at_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 5)
    path = written(tmp_path / "a.txt", "abc\ndef\nghi\njk\n")
    assert texts(path) == ["abc\ndef\n", "ghi\njk\n"]
    assert "".join(texts(written(tmp_path / "b.txt", "x" * 23))) == "x" * 23  # no line ends in it


def test_rows_have_their_text_in_a_field_and_other_words_and_numbers_beside_it(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "one", "domain": "web", "n": 3, "deep": [1]}, {"text": "two", "body": "2"}]
    path = written(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, rows)))
    found = list(read_documents(path, None, by_line=False))
    assert [one.text for one in found] == ["one", "two"]
    assert found[0].columns == {"domain": "web", "n": 3}
    rows[0]["body"] = "1"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert texts(path, "body") == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        ('{"content": "a"}', None, r"line 1 has no field text\n.*fields with text: content\n.*--text-field content"),
        ('{"n": 1}', None, r"no field text\n.*fields with text: none\n.*rows with a field of text"),
        ('{"text": "a"}\n{"text": 7}', None, r"line 2: field text is a int, not a text"),
        ('{"text": null}', None, r"line 1: field text is null, not a text\n.*leave rows without text out"),
        ('{"text": "a\\ud800b"}', None, r"line 1: field text holds half of a letter.*\n.*leave the row out"),
        ('{"text": "a"}\n{"text"', None, r"line 2 is no JSON"),
        ("[" * 100_000, None, r"line 1 is no JSON"),
        ("[1]", None, r"line 1 is a list, not an object"),
    ],
    ids=["other field", "no text", "number", "null", "half", "cut", "deep", "list"],
)
def test_rows_that_are_none(tmp_path: Path, content: str, field: str | None, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        texts(written(tmp_path / "a.jsonl", content), field)


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl"):
        path = written(tmp_path / name, '{"text": "caf\xe9"}'.encode("latin-1"))
        with pytest.raises(TaskError, match=r"is no UTF-8 text: byte 0xe9.*\n.*iconv -f LATIN1 -t UTF-8"):
            texts(path)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_the_remedy_for_utf_16_is_that_of_its_mark(tmp_path: Path, mark: bytes) -> None:
    path = written(tmp_path / "a.txt", mark + "one two".encode("utf-16-le" if mark[0] == 255 else "utf-16-be"))
    with pytest.raises(TaskError, match=r"is no UTF-8 text.*\n.*iconv -f UTF-16 -t UTF-8") as refused:
        texts(path)
    command = refused.value.fix.split()
    fixed = written(tmp_path / "b.txt", subprocess.run(command[:6], capture_output=True, check=True).stdout)
    assert texts(fixed) == ["one two"]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="there is no file"):
        texts(tmp_path / "a.txt")
    with pytest.raises(TaskError, match=r"--text-field body: .* has no fields"):
        texts(written(tmp_path / "a.txt", "a"), "body")


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "one"}\nbroken')
    assert next(iter(read_documents(path, None, by_line=False))).text == "one"


class TestParquet:
    def test_without_its_library_the_remedy_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
        path = written(tmp_path / "a.parquet", b"PAR1")
        with pytest.raises(TaskError, match=r"needs pyarrow, which is not installed\n.*\[parquet\].*\.jsonl"):
            texts(path)

    def test_rows_are_documents(self, tmp_path: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "a.parquet"
        parquet.write_table(pyarrow.table({"body": ["one", "two"], "domain": ["a", "b"]}), path)
        found = list(read_documents(path, "body", by_line=False))
        assert [(one.text, one.columns["domain"]) for one in found] == [("one", "a"), ("two", "b")]
        with pytest.raises(TaskError, match=r"row 1 has no field text\n.*body, domain"):
            texts(path)
        with pytest.raises(TaskError, match="is no parquet file"):
            texts(written(tmp_path / "b.parquet", b"PAR1 damaged"))
