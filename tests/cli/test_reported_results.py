"""`landscape report`: a page is written, missing files are named, and slips are told before anything is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landscape.storage import paths
from landscape_cli import reported_results
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def measured(ckpt: Path, capsys: Captured) -> Path:
    """A small checkpoint with a results file beside it."""
    assert status(["eig", str(ckpt), "-k", "2", "--no-plot"]) == 0
    capsys.readouterr()
    return ckpt


def test_a_page_is_written_for_files_folders_and_checkpoints(measured: Path, capsys: Captured) -> None:
    for named in ("mlp.landscape.h5", ".", "mlp.pt"):
        assert status(["report", named, "-o", "page.html", "--static"]) == 0
        out, err = capsys.readouterr()
        assert (out, err.startswith("wrote page.html (0.")) == ("", True)
        page = Path("page.html").read_text(encoding="utf-8")
        assert "<h1>Geometry of the loss: mlp</h1>" in page
        assert "landscape eig" in page
    assert paths.file_kind(Path("page.html")) == "report"


def test_a_file_that_cannot_be_read_is_named_in_the_page_and_by_the_exit_code(measured: Path, capsys: Captured) -> None:
    Path("bad.landscape.h5").write_bytes(Path("mlp.landscape.h5").read_bytes()[:1000])
    assert status(["report", ".", "--static"]) == 2
    assert "damaged one: bad.landscape.h5" in capsys.readouterr().err
    page = Path("report.html").read_text(encoding="utf-8")
    assert "Some files are missing here" in page
    assert "bad.landscape.h5" in page
    assert "Results of mlp" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.landscape.h5"], "there is no file"),
        (["mlp.landscape.h5", "-o", "page.pdf"], "-o page.pdf is no page"),
        (["empty"], "empty holds no results"),
        (["mlp.landscape.h5", "-o", "nowhere/page.html"], "nowhere"),
    ],
)
def test_nothing_is_written_after_a_slip(words: list[str], message: str, measured: Path, capsys: Captured) -> None:
    Path("empty").mkdir()
    assert status(["report", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().glob("*.html"))


def test_without_plotly_the_extra_is_named(measured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reported_results, "library_script", lambda: None)
    assert status(["report", "mlp.landscape.h5"]) == 0
    assert "pip install 'loss-landscape-geometry[report]'" in capsys.readouterr().err
    assert "pictures are static" in Path("report.html").read_text(encoding="utf-8")


def test_a_page_needs_no_torch(measured: Path) -> None:
    code = (
        "import sys; from landscape_cli.main import status; assert status(['report', 'mlp.landscape.h5']) == 0; "
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
