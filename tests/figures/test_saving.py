"""Pictures in files: the run's fingerprint, titles, formats, and results with nothing to draw."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from PIL import Image
from torch import Tensor

import landscape
from landscape import Direction, Objective, figures
from landscape.analyses.eig import EigResult
from landscape.errors import UsageError
from landscape.figures import FIGURES
from landscape.storage import paths
from landscape_cli.main import status

Data = tuple[Tensor, Tensor]


def test_a_file_carries_the_fingerprint(eig_result: EigResult, tmp_path: Path) -> None:
    figures.save(eig_result, tmp_path / "a.png", heading="odd $name_[x].pt", fingerprint="abc123")
    with Image.open(tmp_path / "a.png") as image:
        assert "abc123" in image.text["Description"]
        assert image.width > image.height
        assert len(np.unique(np.asarray(image))) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("kind", figures.FORMATS)
def test_every_format_is_written_with_the_fingerprint(kind: str, eig_result: EigResult, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    figures.save(eig_result, path, heading="", fingerprint="abc123")
    content = path.read_bytes()
    assert content.startswith({".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[kind])
    assert b"landscape run abc123" in content


@pytest.mark.parametrize(("panels", "wide", "tall"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (6, 2, 3)])
def test_two_panels_stand_side_by_side(
    panels: int, wide: int, tall: int, eig_result: EigResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setitem(FIGURES, EigResult, lambda result, context: {f"panel {n}": seen.append for n in range(panels)})
    figures.save(eig_result, tmp_path / "a.png", heading="", fingerprint="")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width / image.height == pytest.approx(5.0 * wide / (3.75 * tall), rel=0.01)
    assert len(seen) == panels


class TestNothingToDraw:
    """A few numbers have no figure; another result may have one without panels."""

    @pytest.fixture
    def _empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(FIGURES, EigResult, lambda result, context: {})

    def test_numbers_are_not_drawn(self, classification: tuple[Tensor, Tensor], tmp_path: Path) -> None:
        result = landscape.run(Direction(), Objective(tanh_net(), [classification], "cross_entropy"))
        assert not figures.drawn(result)
        with pytest.raises(UsageError, match="this result has no picture"):
            figures.save(result, tmp_path / "a.png", heading="", fingerprint="")
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("_empty")
    def test_a_figure_without_panels_is_not_drawn(self, eig_result: EigResult, tmp_path: Path) -> None:
        assert not figures.drawn(eig_result)
        with pytest.raises(UsageError, match="this result has no picture"):
            figures.save(eig_result, tmp_path / "a.png", heading="", fingerprint="")

    @pytest.mark.usefixtures("_empty")
    def test_the_commands_write_no_picture_and_end_as_usual(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        landscape.save("a.pt", tanh_net(), data=(np.zeros((4, 5), np.float32), np.zeros(4, int)), loss="cross_entropy",
                       spec={"model": "mlp", "model_args": {"sizes": [5, 4, 3], "activation": "tanh"}})  # fmt: skip
        assert status(["eig", "a.pt", "-k", "1"]) == 0
        stored = paths.beside(tmp_path / "a.landscape.h5", "eig.png")
        assert not stored.exists()
        assert status(["plot", "a.landscape.h5"]) == 2
        err = capsys.readouterr().err
        assert "holds nothing to be drawn" in err
        assert "internal error" not in err


def test_saving_a_picture_loads_no_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from landscape.figures import Look, saving; "
        f"saving._save(Path({str(tmp_path / 'a.png')!r}), ['a'], lambda axes: None, Look(), '', 'x'); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_drawing_takes_settings_keeps_text_and_has_planes_as_images(eig_result: EigResult) -> None:
    style = {"text.color": "#010203", "svg.hashsalt": "a"}
    drawing = figures.drawing(eig_result, page=style).decode()
    assert "#010203" in drawing
    assert ">rank</text>" in drawing
    assert drawing == figures.drawing(eig_result, page=style).decode()


@pytest.mark.parametrize("noise", [0.0, 1.0], ids=["smooth", "ragged"])
def test_planes_are_images_within_a_drawing_and_so_are_ragged_contours(classification: Data, noise: float) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = landscape.run(landscape.Surface(grid="31"), objective)
    rugged = replace(result, loss=result.loss + noise * np.random.default_rng(0).random(result.loss.shape))
    drawing = figures.drawing(rugged, page={})
    assert drawing.count(b"<image") >= 1
    assert drawing.count(b" L ") < 20_000


def test_panels_of_a_page_stand_in_two_columns(eig_result: EigResult) -> None:
    layers = {"layer": np.array(["a", "b"]), "layer_eigenvalue": np.ones(2), "layer_residual": np.zeros(2)}
    three = figures.drawing(replace(eig_result, **layers), page={}).decode()
    two = figures.drawing(eig_result, page={}).decode()
    width, height = (float(word) for word in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', three)[0])
    assert re.findall(r'viewBox="0 0 ([\d.]+)', two) == [f"{width:g}"]
    assert height == 2 * figures.layout.PANEL_SIZE[1] * 72


def test_an_overlay_is_drawn_as_it_is_saved_or_not_at_all(eig_result: EigResult, trace_result: Any) -> None:
    both = figures.overlay_drawing([{"eig": eig_result}] * 2, ["first", "second"], page={})
    assert both is not None
    assert b">second</text>" in both
    assert figures.overlay_drawing([{"eig": eig_result}, {"trace": trace_result}], ["a", "b"], page={}) is None
    long = figures.overlay_drawing([{"trace": trace_result}] * 2, ["x" * 300, "y"], page={})
    assert long is not None
    assert b"x" * 100 not in long


def test_fonts_are_embedded_and_text_stays_text(eig_result: EigResult, tmp_path: Path) -> None:
    figures.save(eig_result, tmp_path / "a.pdf", heading="", fingerprint="")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/Type0" in content  # a composite font of TrueType outlines, which are embedded:
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    figures.save(eig_result, tmp_path / "a.svg", heading="", fingerprint="")
    assert ">rank</text>" in (tmp_path / "a.svg").read_text()


def test_a_figure_of_a_width_has_it_in_every_format(eig_result: EigResult, tmp_path: Path) -> None:
    for kind in figures.FORMATS:
        figures.save(eig_result, tmp_path / f"a{kind}", heading="", fingerprint="", panel="eigenvalues", width=8.4)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == pytest.approx(8.4 / 2.54 * 300, abs=1)
        assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)
    points = 8.4 / 2.54 * 72
    (width,) = re.findall(r'width="([\d.]+)pt"', (tmp_path / "a.svg").read_text())[:1]
    assert float(width) == pytest.approx(points, abs=0.1)
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+)", (tmp_path / "a.pdf").read_bytes())
    assert float(box) == pytest.approx(points, abs=0.1)


def test_a_result_titles_and_marks_its_picture_by_itself(classification: Data, tmp_path: Path) -> None:
    result = landscape.run(landscape.Eig(k=1), Objective(tanh_net(), [classification], "cross_entropy"))
    figures.save(result, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert str(result.attributes["fingerprint"]) in text
    assert ">model</text>" in text
    figures.save(result, tmp_path / "b.svg", title="mine")
    assert ">mine</text>" in (tmp_path / "b.svg").read_text()
    with pytest.raises(UsageError, match="c.gif is no picture"):
        figures.save(result, tmp_path / "c.gif")
