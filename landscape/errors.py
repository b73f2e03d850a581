"""The errors that landscape raises on purpose: what is wrong, why, what to do, and the exit code of the command."""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# what begins a command in the log of GitHub Actions (at the beginning of a line) or Azure Pipelines (anywhere)
CI_COMMANDS = re.compile(r"(?P<begin>\A\s*):(?=:)|(?<=#)#(?=(?:vso)?\[)")
COMMAND = re.compile(r"\b(?:landscape|torchrun) [a-z-]")  # in messages: what is to be typed into a shell
FLAG = re.compile(r"(?<![\w-])--?([a-z]+(?:-[a-z]+)*)(?![\w-])")
SHORT_FLAGS = {"o": "output"}  # the names of flags of one letter that have another
_SPEAKS_FLAGS = [False]  # the last one holds
MAX_LINE = 4000  # letters that are printed of one text
MAX_NAME = 200  # letters of a name, where its error must be seen too
EXIT_REGRESSION, EXIT_FAILURE, EXIT_INCONCLUSIVE = 1, 2, 3  # exit codes, beside 0 and 128 + a signal's number


class LandscapeError(Exception):
    """An error that says what is wrong and where, with an optional reason (`why`) and remedy (`fix`); exit code 2.

    Its parts name options as flags; the text of an error in Python names them as arguments.

    >>> import landscape
    >>> try:
    ...     landscape.Eig(k=0)
    ... except landscape.LandscapeError as error:
    ...     print(error)
    k is 0
      fix:  a number at least 1
    """

    exit_code = EXIT_FAILURE
    shared = False  # whether every process of several has raised it

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(clean(what))
        self.what = clean(what)
        self.why = clean(why)
        self.fix = clean(fix)

    def __reduce__(self) -> tuple[Any, ...]:  # subclasses have arguments of their own
        return _rebuild, (type(self), self.args, vars(self))

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.fix:
            lines.append(f"  fix:  {self.fix}")
        return "\n".join(lines if _SPEAKS_FLAGS[-1] else map(name_arguments, lines))


@contextmanager
def speak_flags() -> Iterator[None]:
    """The block in which the texts of errors name options as flags: that of a command."""
    _SPEAKS_FLAGS.append(True)
    try:
        yield
    finally:
        _SPEAKS_FLAGS.pop()


def name_arguments(line: str) -> str:
    """A line of a message with the names of arguments in the place of flags; commands to be typed stay.

    >>> name_arguments("--max-basis 20 or more, or a smaller -k")
    'max_basis 20 or more, or a smaller k'
    >>> name_arguments("landscape eig CKPT --which both")
    'landscape eig CKPT --which both'
    """
    if COMMAND.search(line):
        return line
    return FLAG.sub(lambda found: SHORT_FLAGS.get(found[1], found[1].replace("-", "_")), line)


def _rebuild(kind: type[LandscapeError], args: tuple[Any, ...], state: dict[str, Any]) -> LandscapeError:
    """An error that another process has pickled."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(state)
    return error


class UsageError(LandscapeError):
    """An option, a setting or an argument that cannot be used."""


class CheckpointError(LandscapeError):
    """A checkpoint that cannot be read, or does not fit its model."""


class TaskError(LandscapeError):
    """A model, a data set or a loss that cannot be found or used."""


class NothingCountedError(TaskError):
    """A loss, or a term of one, that counts nothing in the data."""


class OutputError(LandscapeError):
    """A result that cannot be written or read."""


class OutOfMemory(LandscapeError):
    """Memory that ran out, on a device or in this process; exit code 2, never that of a regression."""


class NumericalError(LandscapeError):
    """NaN or infinity where a number is needed; exit code 3."""

    exit_code = EXIT_INCONCLUSIVE


class Interrupted(LandscapeError):
    """The run was stopped by a signal; exit code 128 + the signal's number."""

    def __init__(self, signal_number: int, what: str, *, fix: str = "") -> None:
        super().__init__(what, fix=fix)
        self.exit_code = 128 + signal_number


class RankError(LandscapeError):
    """A process of several that has ended, or that did something else than the others; `rank` tells which one."""

    def __init__(self, rank: int | None, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.rank = rank


class LostRankError(RankError):
    """A process of several that has ended: the others cannot go on, whatever handlers they are in."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The name with the most similar known one, for messages.

    >>> suggest("blok", ["block", "steps"])
    'blok (did you mean block?)'
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"{name} (did you mean {close[0]}?)" if close else name


def shell_line(words: Sequence[str], system: str = sys.platform) -> str:
    """Words as one line to be typed into a shell of the system, which takes quotes away again.

    >>> shell_line(["landscape", "eig", "my run.pt"], "linux")
    "landscape eig 'my run.pt'"
    >>> shell_line(["landscape", "eig", "my run.pt"], "win32")
    'landscape eig "my run.pt"'
    """
    if system == "win32":
        from subprocess import list2cmdline  # which takes a while to import

        return list2cmdline(words)
    return shlex.join(words)


def clean(text: str) -> str:
    r"""The text as one line that commands neither a terminal nor a CI system: every text of a file or a name passes it.

    It escapes what is not printable (control characters, line breaks, marks of direction, lone surrogates) and what
    begins a command in the log of a CI system; a text of more than `MAX_LINE` letters is cut.

    >>> print(clean("a.pt\n::error::b"), clean("::error::b"))
    a.pt\n::error::b \x3a:error::b
    """
    text = text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}..."
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
    return CI_COMMANDS.sub(lambda found: f"{found['begin'] or ''}{_escaped(found[0][-1])}", text)


def _escaped(letter: str) -> str:
    code, named = ord(letter), {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
    form = r"\x{:02x}" if code < 1 << 8 else r"\u{:04x}" if code < 1 << 16 else r"\U{:08x}"
    return named.get(letter) or form.format(code)


def unexpected(error: BaseException) -> LandscapeError:
    """The error for an exception that nobody expected: what the system says of a file or a stream, or else a bug."""
    if isinstance(error, OSError) and error.strerror:
        name = safe_excerpt(error.filename, MAX_NAME)
        where = f"{name} cannot be used" if error.filename else "something cannot be read or written"
        return LandscapeError(f"{where}: {error.strerror}", fix="check the path, its rights, and the room on the disk")
    return LandscapeError(
        f"internal error: {type(error).__name__}: {error}",
        fix="this is a bug; please report it with the output of the same command with --debug",
    )


def safe_excerpt(word: object, longest: int = 80) -> str:
    """A word from a file, shortened and with control characters escaped, so that it can be printed."""
    text = clean("a large number" if isinstance(word, int) and word.bit_length() > 256 else str(word)[: longest + 1])
    return text if len(text) <= longest else f"{text[:longest]}..."


def listing(names: Iterable[str], limit: int = 5) -> str:
    """The first `limit` names, and how many more there are.

    >>> listing(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
