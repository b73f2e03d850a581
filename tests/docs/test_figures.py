"""The commands and the code of docs/figures.md run, and the script draws the pictures that the pages show."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, SAMPLES
from gate_folders import Captured

from landscape_cli.main import status

DOCS = ROOT / "docs"
PAGE = (DOCS / "figures.md").read_text()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("docs_figures", DOCS / "figures.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    shutil.copy(SAMPLES / "digits-mlp.pt", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    for commands in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for command in commands.splitlines():
            words = shlex.split(command)[1:]
            few = ["--limit", "60", "--no-plot"] if words[0] != "plot" else []
            assert status([*words, *few]) == 0, command
    pictures = {path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".pdf", ".svg")}
    assert pictures == {"digits-mlp.eig-eigenvalues.pdf", "surface.svg", "digits-mlp.surface-solid.png"}
    capsys.readouterr()
    Path("page.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)))
    runpy.run_path("page.py")
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown in capsys.readouterr().out
    assert {"both.png", "spectrum.pdf"} <= {path.name for path in tmp_path.iterdir()}


def test_every_picture_of_the_pages_is_drawn_by_the_script(script: ModuleType) -> None:
    shown = {
        name
        for page in [*DOCS.glob("*.md"), ROOT / "README.md"]
        for name in re.findall(r"\(.*?images/([\w-]+)\.png\)", page.read_text())
    }
    assert shown <= script.PICTURES.keys() | script.TRAINED.keys()
    assert not script.PICTURES.keys() & script.TRAINED.keys()
    assert all((DOCS / "images" / f"{name}.png").exists() for name in [*script.PICTURES, *script.TRAINED])


def test_results_that_were_kept_are_drawn_again(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("eig digits-mlp.pt -k 1 --limit 40 -o a.h5", "plot a.h5")
    monkeypatch.setitem(script.PICTURES, "eig", few)
    for _ in range(2):
        script.draw("eig", tmp_path / "eig", tmp_path)
        assert (tmp_path / "eig.png").exists()
        (tmp_path / "eig.png").unlink()
        monkeypatch.setitem(script.PICTURES, "eig", ("eig nothing.pt", "plot a.h5"))
    with pytest.raises(SystemExit, match="eig: landscape eig nothing.pt"):
        script.draw("eig", tmp_path / "other", tmp_path)
