"""Errors say what is wrong, why and what to do, and quote nothing that could command a terminal."""

from __future__ import annotations

import os
import re

import pytest

from landscape import errors
from landscape.errors import (
    MAX_LINE,
    CheckpointError,
    Interrupted,
    LandscapeError,
    NumericalError,
    OutputError,
    TaskError,
    UsageError,
    clean,
    listing,
    safe_excerpt,
    suggest,
    unexpected,
)


def test_a_message_has_its_reason_and_its_remedy_on_lines_of_their_own() -> None:
    assert str(UsageError("a is wrong")) == "a is wrong"
    assert str(UsageError("a is wrong", fix="b")) == "a is wrong\n  fix:  b"
    assert str(UsageError("a is wrong", why="c", fix="b")) == "a is wrong\n  why:  c\n  fix:  b"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--k is 0", "k is 0"),
        (
            "--hvp linearize excludes --compile and --cuda-graphs on",
            "hvp linearize excludes compile and cuda_graphs on",
        ),
        ("leave --weight-decay out, or --operator ggn", "leave weight_decay out, or operator ggn"),
        ("--data FILE.py:factory, -o FILE or -k 3", "data FILE.py:factory, output FILE or k 3"),
        ("landscape eig CKPT --which both", "landscape eig CKPT --which both"),
        ("torchrun --nproc-per-node 2 -m landscape eig", "torchrun --nproc-per-node 2 -m landscape eig"),
        ("element-wise, non-finite, -1, a - b, x--y", "element-wise, non-finite, -1, a - b, x--y"),
    ],
)
def test_in_python_options_are_arguments_and_commands_stay(
    line: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = UsageError(line, fix=line)
    assert str(error) == f"{line}\n  fix:  {line}"  # the tests speak as the command does
    monkeypatch.setattr(errors, "_SPEAKS_FLAGS", [False])
    assert str(error) == f"{text}\n  fix:  {text}"
    with errors.speak_flags():
        assert str(error).startswith(line)
    assert (error.what, error.fix) == (line, line)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LandscapeError("x"), 2),
        (UsageError("x"), 2),
        (CheckpointError("x"), 2),
        (TaskError("x"), 2),
        (OutputError("x"), 2),
        (NumericalError("x"), 3),
        (Interrupted(15, "x"), 143),
        (Interrupted(2, "x"), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_of_the_family_has_its_exit_code(error: LandscapeError, code: int) -> None:
    assert isinstance(error, LandscapeError)
    assert error.exit_code == code


@pytest.mark.parametrize("part", ["what", "why", "fix"])
def test_no_part_of_a_message_commands_a_terminal(part: str) -> None:
    texts = {"what": "x", "why": "", "fix": ""} | {part: "red \x1b[31m bell \a, two\nlines"}
    error = UsageError(texts["what"], why=texts["why"], fix=texts["fix"])
    assert r"red \x1b[31m bell \x07, two\nlines" in str(error)


def test_text_that_is_harmless_stays_as_it_is() -> None:
    for text in ("λ₁ = 3.2, größer", "a::b", "params #[1]", ""):
        assert clean(text) == text


@pytest.mark.parametrize(
    ("word", "excerpt"),
    [
        ("short", "short"),
        ("a" * 81, "a" * 80 + "..."),
        ("a\nb", r"a\nb"),
        (10**100, "a large number"),
        (12, "12"),
        (None, "None"),
    ],
    ids=["short", "long", "control", "huge", "number", "none"],
)
def test_an_excerpt_is_short_and_printable(word: object, excerpt: str) -> None:
    assert safe_excerpt(word) == excerpt


def test_a_long_list_ends_with_the_count_of_the_others() -> None:
    assert listing("abc") == "a, b, c"
    assert listing("abcdefg") == "a, b, c, d, e and 2 more"
    assert listing("abc", 1) == "a and 2 more"


def test_a_wrong_name_is_answered_with_the_most_similar_one() -> None:
    assert suggest("modle", ["model", "data"]) == "modle (did you mean model?)"
    assert suggest("zzz", ["model"]) == "zzz"


HOSTILE_NAMES = {
    "a\n::error::b": r"a\n::error::b",
    "::error file=a::b": r"\x3a:error file=a::b",
    "  ::set-output name=a::b": r"  \x3a:set-output name=a::b",
    "a ##[error]b": r"a #\x23[error]b",
    "##vso[task.setvariable]b": r"#\x23vso[task.setvariable]b",
    "a\x1b[31m\rb\x9b": r"a\x1b[31m\rb\x9b",
    "gpt\u202efdp.exe\u2066\u200b": r"gpt\u202efdp.exe\u2066\u200b",
    "a\u2028b\u2029c\x85d": r"a\u2028b\u2029c\x85d",
    "\ud800 \U000e0041": r"\ud800 \U000e0041",
}


@pytest.mark.parametrize(("name", "printed"), HOSTILE_NAMES.items(), ids=map(ascii, HOSTILE_NAMES))
def test_a_name_commands_neither_a_terminal_nor_a_ci_system(name: str, printed: str) -> None:
    assert clean(name) == printed
    assert clean(printed) == printed
    assert printed.encode("utf-8").decode().isprintable()


def test_a_text_that_no_reader_would_end_is_cut() -> None:
    assert clean("a" * 5000) == "a" * MAX_LINE + "..."
    assert len(str(UsageError("\0" * 10**6))) < 5 * MAX_LINE


def test_what_the_system_says_of_a_file_is_no_bug() -> None:
    with pytest.raises(OSError, match="too long") as caught:
        os.stat("a" * 5000)
    error = unexpected(caught.value)
    assert re.fullmatch(r"a{200}\.\.\. cannot be used: File name too long", error.what)
    assert "the room on the disk" in error.fix
    assert unexpected(OSError(28, "No space left on device")).what.endswith("written: No space left on device")
    assert unexpected(OSError("of a library")).what == "internal error: OSError: of a library"
    bug = unexpected(ValueError("a\n::error::b"))
    assert bug.what == r"internal error: ValueError: a\n::error::b"
    assert "this is a bug" in bug.fix
