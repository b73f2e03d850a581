"""The settings of matplotlib under which a figure is drawn: fonts that journals take, sizes of print, style sheets."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

from landscape.errors import UsageError

if TYPE_CHECKING:
    from landscape.figures.look import Look

# Journals refuse Type 3 fonts; TrueType is embedded in the file. SVG keeps text as text, which can be searched and
# edited, and takes the font of the program that shows it.
TEXT_AS_TEXT: Mapping[str, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}
PRINTED: Mapping[str, Any] = {  # points in a figure of a given width: small text is 7.5, the smallest 6.25
    "font.size": 9.0,
    "axes.labelsize": "small",
    "axes.titlesize": "small",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "legend.fontsize": "small",
    "figure.titlesize": "medium",
    "axes.linewidth": 0.6,
    "lines.markersize": 4.0,
}
MAX_NAMES = 8  # of style sheets in an error


@contextmanager
def settings(look: Look, page: Mapping[str, Any] | None = None) -> Iterator[None]:
    """The block in which a figure of this look is made and saved; `page` are settings of where it stands.

    Raises UsageError if the style sheet cannot be found or used.
    """
    from matplotlib import rc_context

    sheet = _read_sheet(look.style) if look.style is not None else {}
    chosen: Any = {**TEXT_AS_TEXT, **(PRINTED if look.width is not None else {}), **(page or {}), **sheet}
    with rc_context(chosen):
        yield


def _read_sheet(style: str) -> dict[str, Any]:
    """The settings of a style sheet, which is a file or one of matplotlib's; raises UsageError if it has none."""
    from matplotlib import style as styles

    if style in styles.library:
        return _kept({str(name): value for name, value in styles.library[style].items()}, style)
    path = Path(style)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no file, and matplotlib knows no style of that name"
        names = [name for name in styles.available if not name.startswith("_")]
        some = ", ".join(sorted(names, key=lambda name: (name.startswith("seaborn"), name))[:MAX_NAMES])
        raise UsageError(f"--style {style} {what}", fix=f"a style sheet of matplotlib, or a name such as {some}")
    return _kept(_read_file(path), style)


def _read_file(path: Path) -> dict[str, Any]:
    """The settings in a file; matplotlib only logs lines that it does not understand, which are errors here."""
    from matplotlib import rc_params_from_file

    complaints = _Complaints()
    logger = logging.getLogger("matplotlib")
    logger.addHandler(complaints)
    propagates, logger.propagate = logger.propagate, False
    try:
        with catch_warnings():
            filterwarnings("ignore", category=DeprecationWarning)
            read = rc_params_from_file(path, fail_on_error=True, use_default_template=False)
            found = {str(name): value for name, value in read.items()}
    except (ValueError, OSError) as error:  # a file in another encoding is a ValueError, too
        raise _unusable(path, str(error)) from error
    finally:
        logger.removeHandler(complaints)
        logger.propagate = propagates
    if complaints.found:
        raise _unusable(path, complaints.found[0])
    if not found:
        raise _unusable(path, "it sets nothing")
    return found


def _unusable(path: Path, why: str) -> UsageError:
    """The error of a file that is no style sheet."""
    reason = " ".join(why.split()).partition(". You probably need to get an updated")[0]
    return UsageError(
        f"--style {path} is no style sheet that can be used", why=reason, fix="lines such as `font.size: 8`"
    )


class _Complaints(logging.Handler):
    """Keeps what a library logs as warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the message."""
        self.found.append(record.getMessage())


def _kept(sheet: Mapping[str, Any], style: str) -> dict[str, Any]:
    """The settings of a sheet; raises UsageError for one that chooses matplotlib's backend, which is no look."""
    if "backend" in sheet:
        raise UsageError(f"--style {style} sets backend", why="a style has no backend", fix="remove that line")
    return dict(sheet)
