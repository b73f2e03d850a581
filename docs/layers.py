"""Draws docs/images/layers.svg from the layers that import-linter checks: `python docs/layers.py`.

The rows are those of the contract in pyproject.toml, the sentences the first docstring lines of the packages.
"""

from __future__ import annotations

import ast
import html
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "layers.svg"
WIDTH, LEFT, TOP = 1080, 20, 56
LINE, GAP = 17, 8  # pixels: a line of text, and the space between rows
COLUMN = 190  # pixels from a row's left edge to its sentences
LETTERS = 112  # of a sentence on one line
FONT = "font-family='ui-sans-serif, Helvetica, Arial, sans-serif'"


def layers() -> list[list[str]]:
    """The rows of the contract, top to bottom; names of one row do not import each other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [[name.strip() for name in row.split("|")] for row in contract["layers"]]


def sentence(name: str) -> str:
    """The first line of the docstring of `landscape.name`, a package or a module."""
    package = ROOT / "landscape" / name / "__init__.py"
    path = package if package.exists() else ROOT / "landscape" / f"{name}.py"
    text = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].replace("\n", " ")
    return text if len(text) <= LETTERS else text[: LETTERS - 4].rsplit(" ", 1)[0] + " ..."


def label(x: int, y: int, text: str, style: str) -> str:
    """One line of text with its baseline at `y`, in pixels."""
    return f"<text x='{x}' y='{y}' {FONT} {style}>{html.escape(text, quote=False)}</text>"


def row(y: int, names: list[str]) -> list[str]:
    """The box of one layer with its top at `y`: each name with what it is."""
    height = LINE * len(names) + 10
    size = f"width='{WIDTH - 2 * LEFT}' height='{height}' rx='5'"
    box = f"<rect x='{LEFT}' y='{y}' {size} fill='#f4f6fa' stroke='#8a99b5'/>"
    parts = [box]
    for place, name in enumerate(names):
        baseline = y + 17 + LINE * place
        parts.append(label(LEFT + 12, baseline, name, "font-size='13' font-weight='600' fill='#1b2a4a'"))
        parts.append(label(LEFT + COLUMN, baseline, sentence(name), "font-size='12' fill='#3c4658'"))
    return parts


def drawing() -> str:
    """The picture as SVG text; the same contract and docstrings always give the same text."""
    rows = layers()
    y, parts = TOP, []
    for names in rows:
        parts += row(y, names)
        y += LINE * len(names) + 10 + GAP
    title = label(LEFT, 24, "The layers of landscape", "font-size='16' font-weight='700' fill='#1b2a4a'")
    rule = label(
        LEFT,
        44,
        "A module imports only modules of rows below its own; names in one row do not import each other.",
        "font-size='12' fill='#3c4658'",
    )
    size = f"width='{WIDTH}' height='{y + 4}' viewBox='0 0 {WIDTH} {y + 4}'"
    background = f"<rect width='{WIDTH}' height='{y + 4}' fill='white'/>"
    body = "\n".join([background, title, rule, *parts])
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}>\n{body}\n</svg>\n"


if __name__ == "__main__":
    PICTURE.write_text(drawing())
