"""What mkdocs adds to the pages: the files of the root, the reference of each command and result, and formulas."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import reference
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
ROOT_PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
ROOT_PAGES |= {"SECURITY.md": "security.md"}
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
LINK = re.compile(r"(\]\()([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the root, under their names on the site."""
    for source, page in ROOT_PAGES.items():
        text = LINK.sub(_of_the_site, (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def _of_the_site(match: re.Match[str]) -> str:
    """A link of a page of the root, as it is on the site."""
    opening, target = match.groups()
    return opening + ROOT_PAGES.get(target, target.removeprefix("docs/"))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Names the root's pages as the site does, and appends the reference of the page's commands."""
    for source, target in ROOT_PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}")
    return markdown + reference.of_page(page.file.src_uri)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw without a script."""
    return FORMULA.sub(_in_mathml, content)


def _in_mathml(match: re.Match[str]) -> str:
    display = "block" if match[2] == "[" else "inline"
    return convert(html.unescape(match[3]), display=display)
