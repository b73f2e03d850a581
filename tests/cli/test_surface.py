"""Surfaces as a user types them: measured, drawn again, exported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from landscape.storage.read import read_results
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("folder_with_samples")
FEW = ["--limit", "60", "--grid", "9"]


def test_a_plane_is_measured_drawn_and_said(capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW]) == 0
    out, err = capsys.readouterr()
    assert "weight" in out
    assert "filter" in out
    assert "curvature along alpha" in out
    assert "wrote a.landscape.h5, a.surface.png" in err
    assert "passes over the data" in err
    stored = read_results(Path("a.landscape.h5"))["surface"]
    assert stored.values["loss"].shape == (9, 9)
    assert json.loads(str(stored.attributes["options"]))["normalise"] == "filter"


@pytest.mark.parametrize("flag", ["--normalize", "--normalise"])
def test_both_spellings_of_the_normalization_are_understood(flag: str, capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW, flag, "layer", "--no-plot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["normalise"] == "layer"  # as results files have called it
    assert status(["surface", "--help"]) == 0
    assert "--normalise" not in capsys.readouterr().out


def test_checkpoints_named_one_after_another_make_one_line(capsys: Captured) -> None:
    assert status(["surface", "run/step-0840.pt", "run/step-0042.pt", "--axes", "checkpoints", *FEW, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["checkpoint"]["path"] == "run/step-0840.pt"
    assert document["result"]["mark"] == ["(measured)", "run/step-0042.pt"]
    assert document["result"]["barrier"] is not None
    assert not Path("run/step-0042.landscape.h5").exists()
    assert status(["surface", "run/step-0840.pt", "--towards", "run/step-0042.pt", *FEW, "--json", "--no-plot"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["result"]["loss"] == document["result"]["loss"]
    assert status(["surface", "a.pt", "--axes", "checkpoints", *FEW]) == 2
    assert "none is named" in capsys.readouterr().err


def test_settings_and_flags_reach_the_analysis(capsys: Captured, tmp_path: Path) -> None:
    Path("landscape.toml").write_text(
        'checkpoint = "a.pt"\nlimit = 60\n[surface]\ngrid = 7\ntrajectory = "run"\nlevel = [0.5, 1.0]\n'
    )
    Path("sub").mkdir()
    os.chdir("sub")
    assert status(["surface", "--json", "--no-plot"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert len(result["loss"]) == 7
    assert len(result["mark"]) == 10
    assert result["level"] == [0.5, 1.0]
    Path("../landscape.toml").write_text('checkpoint = "a.pt"\nlimit = 60\n[surface]\ntowards = ["run/step-0021.pt"]\n')
    assert status(["surface", "--grid", "5", "--json", "--no-plot"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["mark"][1].endswith("step-0021.pt")


def test_a_metric_from_a_file(capsys: Captured) -> None:
    Path("metrics.py").write_text("def confidence(output, target):\n    return output.softmax(1).amax(1)\n")
    assert status(["surface", "a.pt", *FEW, "--metric", "metrics.py:confidence", "--json", "--no-plot"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0.1 <= document["result"]["metric"][4][4] <= 1
    assert document["options"]["metric"] == "metrics.py:confidence"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "a.landscape.h5", "-o", "a.gif"], "no picture"),
        (["plot", "a.landscape.h5", "--analysis", "sharpness"], "nothing to be drawn called sharpness"),
        (["plot", "a.landscape.h5", "eig.h5", "-o", "x.png"], "eig.h5 holds no surface"),
        (["plot", "a.landscape.h5", "a.landscape.h5"], "-o FILE.png"),
        (["plot", "a.landscape.h5", "line.h5", "-o", "x.png"], "some of the surfaces are lines"),
        (["plot", "line.h5", "--solid"], "no surface in two dimensions"),
        (["plot", "line.h5", "--solid", "--barcode"], "two pictures"),
        (["plot", "a.landscape.h5", "a.landscape.h5", "--solid", "-o", "x.png"], "one result, not for several"),
        (["plot", "none.h5"], "there is no file"),
        (["export", "a.landscape.h5"], "no format is named"),
        (["export", "eig.h5", "--vts"], "holds no surface"),
        (["export", "line.h5", "--vts"], "two dimensions"),
        (["surface", "a.pt", "--grid", "1"], "--grid is '1'"),
        (["surface", "a.pt", "--range", "0.5:1"], "lies at 0"),
        (["surface", "a.pt", "--trajectory", "nowhere"], "not a folder"),
        (["surface", "a.pt", "--metric", "nowhere.py:f"], "there is no file"),
        (["surface", "a.pt", "--ignore", "wieght"], "matches --ignore wieght"),
    ],
    ids=lambda value: "-".join(value[:3]) if isinstance(value, list) else "",
)
def test_bad_input_is_told_what_where_and_how(arguments: list[str], message: str, capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW, "--no-plot"]) == 0
    assert status(["surface", "a.pt", *FEW, "--no-plot", "--dim", "1", "-o", "line.h5"]) == 0
    assert status(["eig", "a.pt", "-k", "1", "--limit", "20", "--no-plot", "-o", "eig.h5"]) == 0
    capsys.readouterr()
    assert status(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_plan_says_how_many_points(capsys: Captured) -> None:
    assert status(["surface", "a.pt", "--grid", "21x11", "--seeds", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "462" in out
    assert not Path("a.landscape.h5").exists()


def test_a_state_dict_that_does_not_fit_names_the_flag(capsys: Captured) -> None:
    torch.save({"w": torch.zeros(2)}, "alien.pt")
    assert status(["surface", "a.pt", "--towards", "alien.pt", *FEW]) == 2
    assert "--towards a checkpoint of the same model" in capsys.readouterr().err


def test_a_plan_of_adaptive_points_is_of_those_that_are_expected(capsys: Captured) -> None:
    times = []
    for options in ([], ["--adaptive"]):
        assert status(["surface", "a.pt", "--grid", "41", "--limit", "20", "--dry-run", *options]) == 0
        out = capsys.readouterr().out
        times.append(out)
    assert "1,681" in times[0]
    assert "about 420 of 1,681: --adaptive interpolates" in " ".join(times[1].split())
