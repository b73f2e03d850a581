"""Every block of every page is run by a test: those of pages without a test of their own by this one.

Commands run on the first samples only, so that a page takes a second; what they print is not compared here.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from page_blocks import BLOCK

from landscape.analyses import ANALYSES
from landscape_cli.main import status

DOCS = ROOT / "docs"
PAGES = {page.relative_to(DOCS).with_suffix("").as_posix(): page.read_text("utf-8") for page in DOCS.rglob("*.md")}
OWN = {  # pages whose blocks another test runs, and where
    "adding-an-analysis": "docs/test_adding_an_analysis.py",
    "bring-your-own": "docs/test_bring_your_own.py",
    "callbacks": "docs/test_callbacks.py",
    "check": "test_examples.py",
    "critical": "docs/test_critical.py",
    "data": "docs/test_data.py",
    "demo": "cli/test_demo.py",
    "edge-of-stability": "test_examples.py",
    "figures": "docs/test_figures.py",
    "influence": "docs/test_influence.py",
    "install": "docs/test_install.py",
    "llc": "docs/test_llc.py",
    "objectives": "docs/test_objectives.py",
    "populations": "docs/test_populations.py",
    "report": "docs/test_report.py",
    "results": "docs/test_results.py",
    "scale": "docs/test_scale.py",
    "sensitivity": "docs/test_sensitivity.py",
    "sharpness": "test_examples.py",
    "start": "test_readme.py",
    "surface": "test_examples.py",
    "track": "docs/test_track.py",
}
MEASURING = {kind.name for kind in ANALYSES} | {"track"}
QUICK = {"surface": ["--grid", "5"], "memorization": ["--no-per-layer"], "sharpness": ["--starts", "2"]}
LANGUAGES = {"bash", "diff", "json", "markdown", "python", "text", "toml", "yaml"}
FRAGMENTS = {"checkpoints", "density", "edit", "eig"}  # lines of Python that stand for a part of a program
OWN_MODEL = """
import torch


def build():
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))


def train():
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    return [(x, x[:, :3].argmax(1))]


def canaries():
    return [(torch.ones(5, 8), torch.arange(5) % 3)]


other_strings = batches = train
"""


def runnable() -> list[str]:
    """The pages with blocks that no other test runs."""
    return sorted(name for name, text in PAGES.items() if name not in OWN and BLOCK.search(text))


def prepare(folder: Path) -> None:
    """Puts the samples, and a model of one's own under the names that pages give it, into a folder."""
    shutil.copytree(SAMPLES, folder / "sample_checkpoints")
    (folder / "model.py").write_text(OWN_MODEL)
    (folder / "data.py").write_text(OWN_MODEL)
    namespace: dict[str, object] = {}
    exec(OWN_MODEL + "\ntorch.manual_seed(0)\ntorch.save(build().state_dict(), 'my.pt')", namespace)  # noqa: S102
    shutil.copy(SAMPLES / "digits-mlp.pt", folder / "ckpt.pt")


def quickened(words: list[str]) -> list[str]:
    """The words of a command, restricted to a few samples."""
    name = words[0]
    if name not in MEASURING:
        return words
    chosen = name == "edit" or "--data-error" in words  # by their own rule
    return [*words, *([] if chosen else ["--limit", "32"]), *QUICK.get(name, []), "--no-plot"]


@pytest.mark.parametrize("name", [name for name in runnable() if name not in FRAGMENTS])
def test_the_blocks_of_the_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    prepare(tmp_path)
    for language, text in BLOCK.findall(PAGES[name]):
        if language == "python":
            exec(compile(text, name, "exec"), {})  # noqa: S102
            continue
        for line in text.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "landscape", line
            assert status(quickened(words)) == 0, line


@pytest.mark.parametrize("name", sorted(FRAGMENTS))
def test_fragments_are_python(name: str) -> None:
    fragments = [text for language, text in BLOCK.findall(PAGES[name]) if language == "python"]
    assert fragments
    for text in fragments:
        compile(text, name, "exec")


def test_pages_with_tests_of_their_own_have_them() -> None:
    for name, file in OWN.items():
        text = (ROOT / "tests" / file).read_text()
        assert f"{name}.md" in text or f'"{name}' in text, file


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_block_says_its_language_and_data_are_data(name: str) -> None:
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```", PAGES[name], re.MULTILINE | re.DOTALL)
    assert {language for language, _ in fences} <= LANGUAGES
    for language, text in fences:
        if language == "toml":
            tomllib.loads(text)
        if language == "json":
            json.loads(text)
