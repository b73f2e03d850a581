"""`landscape plot`: stored results are drawn again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import SAMPLES

import landscape
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("folder_with_samples")
FEW = ["--limit", "60", "--grid", "9"]


def test_results_are_drawn_again_beside_each_other_and_as_solids(capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW]) == 0
    assert status(["surface", "run/step-0840.pt", *FEW]) == 0
    assert status(["eig", "a.pt", "-k", "2", "--limit", "60", "--no-plot"]) == 0
    Path("a.surface.png").unlink()
    capsys.readouterr()
    assert status(["plot", "a.landscape.h5"]) == 0
    assert {"a.surface.png", "a.eig.png"} <= {path.name for path in Path().iterdir()}
    assert status(["plot", "a.landscape.h5", "--solid"]) == 0
    assert Path("a.surface-solid.png").exists()
    assert status(["plot", "a.landscape.h5", "--barcode"]) == 0
    assert Path("a.surface-barcode.png").exists()
    assert status(["plot", "a.landscape.h5", "run/step-0840.landscape.h5", "-o", "both.pdf"]) == 0
    assert Path("both.pdf").read_bytes().startswith(b"%PDF")
    assert status(["plot", "a.landscape.h5", "--analysis", "eig", "-o", "e.svg"]) == 0
    assert Path("e.svg").exists()


def test_a_picture_of_several_surfaces_says_where_their_losses_are_far_apart(capsys: Captured) -> None:
    for name in ("a.pt", "run/step-0000.pt"):
        assert status(["surface", name, "--limit", "60", "--dim", "1", "--grid", "5", "--no-plot"]) == 0
    assert status(["plot", "a.landscape.h5", "run/step-0000.landscape.h5", "-o", "both.svg"]) == 0
    assert ": cross-entropy flattens as a net" in " ".join(re.findall(r">([^<]+)</text>", Path("both.svg").read_text()))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a plane and eigenvalues."""
    folder = tmp_path_factory.mktemp("measured")
    objective = landscape.load(shutil.copy(SAMPLES / "digits-mlp.pt", folder / "a.pt"), limit=60)
    for analysis in (landscape.Surface(grid="9"), landscape.Eig(k=2)):
        landscape.run(analysis, objective, output=folder / "a.landscape.h5")
    return folder / "a.landscape.h5"


@pytest.fixture
def _measured(measured: Path, folder_with_samples: object) -> None:
    shutil.copy(measured, "a.landscape.h5")


@pytest.mark.usefixtures("_measured")
class TestLook:
    """Flags of the look, on a file with a plane and eigenvalues."""

    def test_panels_have_files_of_their_own_and_formats_their_endings(self) -> None:
        assert status(["plot", "a.landscape.h5", "--panel", "eigenvalues", "--format", "pdf"]) == 0
        assert Path("a.eig-eigenvalues.pdf").read_bytes().startswith(b"%PDF")
        assert not Path("a.surface-eigenvalues.pdf").exists()
        assert status(["plot", "a.landscape.h5", "--solid", "--view", "-30,20", "--format", "svg"]) == 0
        assert Path("a.surface-solid.svg").exists()

    def test_titles_are_as_asked_for(self) -> None:
        draw = ["plot", "a.landscape.h5", "--analysis", "eig", "--panel", "eigenvalues", "-o", "a.svg"]
        titles = {}
        for look in ([], ["--title", "$mine"], ["--no-title"]):
            assert status([*draw, *look]) == 0
            titles[" ".join(look)] = Path("a.svg").read_text()
        assert ">a.pt, limit 60</text>" in titles[""]
        assert ">$mine</text>" in titles["--title $mine"]
        assert "a.pt" not in titles["--no-title"]
        assert "parameters" in titles[""]
        assert "parameters" not in titles["--no-title"]

    def test_options_of_surfaces_draw_the_surface_alone(self) -> None:
        assert status(["plot", "a.landscape.h5", "--levels", "1,10", "--range", "0.01,100", "--width", "9"]) == 0
        assert Path("a.surface.png").exists()
        assert not Path("a.eig.png").exists()

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ("--title a --no-title", "--title and --no-title exclude each other"),
            ("--format gif", "--format is 'gif'"),
            ("-o a.png --format pdf", "two formats"),
            ("--panel nothing", "has no panel nothing"),
            ("--panel eigenvalues --panel loss", "has no panel eigenvalues with loss"),
            ("--analysis eig --levels 3", "--levels is for surfaces, not for eig"),
            ("--view 1,2", "--view turns solids alone"),
            ("--levels many", "--levels many is not a number"),
            ("--range 5,1", "--range is 5,1"),
            ("--style nowhere.mplstyle", "--style nowhere.mplstyle is no file"),
            ("--width 1", "--width is 1"),
            ("--barcode --range 1,2", "neither contours nor colors: --range"),
            ("--solid --barcode", "two pictures"),
        ],
    )
    def test_what_does_not_apply_is_refused_with_a_remedy(self, flags: str, words: str, capsys: Captured) -> None:
        assert status(["plot", "a.landscape.h5", *flags.split()]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "fix:" in error
        assert not list(Path().glob("*.png"))

    def test_several_files_have_no_panels(self, capsys: Captured) -> None:
        assert status(["plot", "a.landscape.h5", "a.landscape.h5", "-o", "b.png", "--panel", "loss"]) == 2
        assert "--panel is for one result" in capsys.readouterr().err
        both = ["plot", "a.landscape.h5", "a.landscape.h5", "-o", "b.png"]
        assert status([*both, "--levels", "3", "--width", "17"]) == 0
        assert Path("b.png").exists()
