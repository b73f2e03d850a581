"""What is printed: estimates with their errors, one table for each dimension, names and remarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, tanh_net
from drawn_traces import drawn_trace, rows

import landscape
from landscape import Density, Objective
from landscape.checkpoints import save
from landscape.zoo import mlp
from landscape_cli import result_tables
from landscape_cli.main import status
from landscape_cli.result_tables import print_measurements
from landscape_cli.tables import Screen

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small self-describing checkpoints in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        sizes = {"sizes": [64, 6, 10]}
        save(
            f"{name}.pt", mlp(**sizes), data="digits", loss="cross_entropy", spec={"model": "mlp", "model_args": sizes}
        )


def test_estimates_stand_beside_their_standard_errors(capsys: Captured) -> None:
    assert status(["density", "a.pt", "--probes", "2", "--steps", "10"]) == 0
    out = capsys.readouterr().out
    assert "standard error" in out
    (norm,) = rows(out, "frobenius")
    assert norm[3] == "±"
    assert float(norm[2]) > float(norm[4]) > 0
    assert "frobenius norm se" not in out
    assert "products 20" in out


def test_layers_are_rows_by_name_largest_trace_first(capsys: Captured) -> None:
    assert status(["trace", "a.pt", "--rtol", "0.2", "--per-layer", "--resample", "5"]) == 0
    out = capsys.readouterr().out
    assert rows(out, "layer")[0] == ["layer", "parameters", "±", "standard", "error", "share"]
    traces = [float(rows(out, name)[0][2]) for name in ("0", "2")]
    lines = [line.split()[0] for line in out.splitlines() if line.split()[:1] in (["0"], ["2"])]
    assert lines == (["0", "2"] if traces[0] > traces[1] else ["2", "0"])
    assert "by the choice of samples" in out


def test_several_checkpoints_share_each_table(capsys: Captured) -> None:
    assert status(["eig", "a.pt", "b.pt", "-k", "1", "--per-layer", "--certify", "--certify-gap", "0.1"]) == 0
    out = capsys.readouterr().out
    assert out.count("certified: no eigenvalue") == 2
    assert [row[1] for row in rows(out, "a.pt")] == ["0", *[row[1] for row in rows(out, "a.pt")[1:]]]
    assert len(rows(out, "a.pt")) == len(rows(out, "b.pt")) == 3  # one rank and two layers
    assert status(["density", "a.pt", "b.pt", "--probes", "2", "--steps", "5"]) == 0
    out = capsys.readouterr().out
    assert out.count("frobenius norm") == 2
    assert out.count("standard error") == 1


def test_what_was_printed_is_what_show_prints(capsys: Captured) -> None:
    for command in (["density", "--probes", "2", "--steps", "6"], ["trace", "--rtol", "0.3"], ["eig", "-k", "2"]):
        assert status([command[0], "a.pt", *command[1:], "--per-layer"]) == 0
        printed = capsys.readouterr().out
        assert status(["show", "a.landscape.h5"]) == 0
        shown = capsys.readouterr().out
        assert printed.rpartition(", time")[0] in shown


def test_json_has_names_numbers_and_null(capsys: Captured) -> None:
    assert status(["eig", "a.pt", "-k", "7", "--blocks", "2.bias", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["layer"] == ["2.bias"]
    assert len(result["layer_eigenvalues"][0]) == 7
    assert "certified" not in result
    assert status(["trace", "a.pt", "--json", "--rtol", "0.1"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert set(result["estimator"]) <= {"xtrace", "hutch++", "hutchinson"}
    assert {"trace", "standard_error", "interval", "products"} <= result.keys()


@pytest.mark.parametrize("command", ["eig", "density", "trace"])
def test_a_dry_run_of_every_command_prints_a_plan(command: str, capsys: Captured) -> None:
    assert status([command, "a.pt", "--per-layer", "--operator", "ggn", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "products" in out
    assert "time" in out
    assert not list(Path.cwd().glob("*.h5"))


def test_a_preconditioner_is_found_beside_the_settings(tmp_path: Path, capsys: Captured) -> None:
    content = torch.load("a.pt", weights_only=True)["state_dict"]
    torch.save({name: torch.full_like(tensor, 2.0) for name, tensor in content.items()}, "half.pt")
    Path("landscape.toml").write_text('preconditioner = "half.pt"\ncheckpoint = "a.pt"\n')
    Path("inner").mkdir()
    values = {}
    for operator in ("hessian", "preconditioned"):
        assert status(["eig", "-k", "1", "--operator", operator, "--json"]) == 0
        values[operator] = json.loads(capsys.readouterr().out)["result"]["eigenvalues"][0]
    assert values["preconditioned"] == pytest.approx(values["hessian"] / 2, rel=1e-4)


def test_a_sample_s_top_ggn_value_is_at_most_its_trace(capsys: Captured) -> None:
    sample = str(SAMPLES / "digits-mlp.pt")
    assert status(["eig", sample, "-k", "1", "--operator", "ggn", "--json", "-o", "a.h5"]) == 0
    top = json.loads(capsys.readouterr().out)["result"]["eigenvalues"][0]
    assert status(["trace", sample, "--operator", "ggn", "--rtol", "0.1", "--json", "-o", "a.h5"]) == 0
    assert 0 < top < json.loads(capsys.readouterr().out)["result"]["trace"]


def test_another_matrix_is_named_and_its_replacing_said(capsys: Captured) -> None:
    assert status(["eig", "a.pt", "-k", "1"]) == 0
    out, err = capsys.readouterr()
    assert "replaced" not in err
    assert status(["eig", "a.pt", "-k", "1", "--operator", "ggn", "--params", "0.*"]) == 0
    out, err = capsys.readouterr()
    assert "a.pt, ggn, params 0.*: loss" in out
    assert "replaced the earlier /eig" in err
    assert "operator hessian" in err
    assert status(["show", "a.landscape.h5"]) == 0
    assert "a.pt, ggn, params 0.*: loss" in capsys.readouterr().out


def test_long_names_are_not_cut_in_a_pipe(capsys: Captured) -> None:
    save(
        "c.pt",
        mlp([64, 6, 10]),
        data="digits",
        loss="cross_entropy",
        spec={"model": "mlp", "model_args": {"sizes": [64, 6, 10]}},
    )
    assert status(["density", "c.pt", "--probes", "2", "--steps", "5", "--blocks", "*weight", "--blocks", "*bias"]) == 0
    out = capsys.readouterr().out
    assert rows(out, "*weight")
    assert rows(out, "*bias")


def test_damaged_attributes_are_said(capsys: Captured) -> None:
    import h5py

    assert status(["eig", "a.pt", "-k", "1"]) == 0
    with h5py.File("a.landscape.h5", "r+") as file:
        file["eig"].attrs["fingerprint_parts"] = "{"
    assert status(["plot", "a.landscape.h5"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_radii_may_be_joined_by_commas_or_repeated(capsys: Captured) -> None:
    short = ["--starts", "2", "--steps", "2", "--draws", "2", "--no-plot"]
    assert status(["sharpness", "a.pt", "--rho", "0.1,0.2", "--rho", "0.4", *short]) == 0
    out = capsys.readouterr().out
    assert [len(rows(out, radius)) for radius in ("0.1", "0.2", "0.4")] == [1, 1, 1]
    assert "multimodal" in out or "unique" in out
    assert status(["sharpness", "a.pt", "--rho", "0.1;0.2", *short]) == 2
    assert "--rho 0.1;0.2 is not a number" in capsys.readouterr().err


def test_radii_come_from_settings_and_the_environment_too(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "landscape.toml").write_text(
        "[sharpness]\nrho = [0.1, 0.3]\nstarts = 0\ndraws = 2\n[flatness]\nrho = 0.2\nstarts = 1\nsteps = 2\n"
    )
    assert status(["sharpness", "a.pt", "--json", "--no-plot"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["rho"] == [0.1, 0.3]
    assert status(["flatness", "a.pt", "--json", "--no-plot"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["rho"] == [0.2]
    monkeypatch.setenv("LANDSCAPE_RHO", "0.4,0.5")
    assert status(["sharpness", "a.pt", "--json", "--no-plot"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["rho"] == [0.4, 0.5]


def test_losses_that_are_too_far_apart_are_pointed_out(capsys: Captured) -> None:
    sizes = {"sizes": [64, 6, 10]}
    torch.manual_seed(0)
    model = mlp(**sizes)
    with torch.no_grad():
        model[2].weight *= 8
    save("c.pt", model, data="digits", loss="cross_entropy", spec={"model": "mlp", "model_args": sizes})
    assert status(["eig", "a.pt", "c.pt", "-k", "1", "--no-plot"]) == 0
    assert "are not comparable" in capsys.readouterr().out
    assert status(["eig", "a.pt", "b.pt", "-k", "1", "--no-plot"]) == 0
    assert "are not comparable" not in capsys.readouterr().out


def test_an_analysis_without_a_picture_writes_none(capsys: Captured, tmp_path: Path) -> None:
    assert status(["measures", "a.pt", "--limit", "20", "--draws", "0"]) == 0
    out = capsys.readouterr().out
    assert status(["plot", "a.landscape.h5"]) == 2
    assert "nothing to be drawn" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))
    assert "relative flatness" in out
    assert "noise scale" in out


@pytest.mark.parametrize("width", [50, 80, 100, 200])
def test_no_number_is_cut_in_a_terminal(width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_tables, "console", lambda: Screen(force_terminal=True, width=width, color_system=None))
    short = ["--starts", "2", "--steps", "2", "--draws", "20", "--no-plot"]
    assert status(["sharpness", "a.pt", "b.pt", *short]) == 0
    assert "…" not in capsys.readouterr().out
    assert status(["sharpness", "a.pt", *short]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert ("more columns in a wider terminal" in out) == (width < 150)
    assert ("stationarity" in out) == (width > 150)


def test_a_number_is_no_checkpoint(capsys: Captured) -> None:
    assert status(["sharpness", "a.pt", "--rho", "0.1", "0.2"]) == 2
    assert "0.2 is taken for a checkpoint" in capsys.readouterr().err


def test_facts_are_printed_and_the_rest_with_verbose(capsys: Captured) -> None:
    print_measurements([("run", drawn_trace(), 1.0)])
    short = capsys.readouterr().out.splitlines()
    assert "run: loss 0.1, products 30, work in gradients 60, time 1 s, 4 more with --verbose" in short
    print_measurements([("run", drawn_trace(), 1.0)], verbose=True)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("run:"))
    assert "rtol 0.1" in line
    assert "gradient norm 0.1" in line
    assert "parameters 10" in line
    assert "samples 5" in line
    assert "more with" not in line


def test_a_table_on_request_is_named_and_captions_explain_columns(capsys: Captured) -> None:
    command = ["memorization", "a.pt", "--no-per-layer", "--controls", "0", "--no-scores", "--limit", "60"]
    assert status([*command, "--no-plot"]) == 0
    short = capsys.readouterr().out
    assert "tables by layer, rho and rank: --verbose" in short
    assert "0-0.1 % are the sharpest" in short
    assert "curvature mass kept" not in " ".join(short.split())
    assert status([*command, "--no-plot", "--verbose"]) == 0
    long = " ".join(capsys.readouterr().out.split())
    assert "tables by" not in long
    assert "tr A tr G, with A and G the second moments" in long


def test_the_meaning_of_a_conclusive_result_comes_first(capsys: Captured) -> None:
    hessian = {"options": '{"operator": "hessian"}'}
    print_measurements([("run", drawn_trace(attributes=hessian, rtol=0.2), 1.0)])
    lines = capsys.readouterr().out.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("run:"))
    assert lines[place + 1].startswith("  Gaussian noise of standard deviation 0.01")
    print_measurements([("run", drawn_trace(attributes=hessian, rtol=1e-6), 1.0)])
    assert "Gaussian noise" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 100, 120])
def test_tables_fit_the_terminal(width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_tables, "console", lambda: Screen(force_terminal=True, width=width, color_system=None))
    for command in (
        ["eig", "-k", "2", "--per-layer", "--resample", "5", "--by", "class"],
        ["density", "--per-layer", "--probes", "2", "--steps", "5"],
        ["diagonal", "--operator", "ggn", "--top", "10%"],
        ["flatness", "--per-layer", "--starts", "2", "--steps", "2"],
        ["measures", "--by", "class", "--draws", "0"],
        ["memorization", "--no-per-layer", "--controls", "0", "--no-scores"],
    ):
        assert status([command[0], "a.pt", *command[1:], "--limit", "60", "--no-plot"]) in (0, 3), command
        rules = [line for line in capsys.readouterr().out.splitlines() if "──" in line]
        assert rules
        assert max(map(len, rules)) <= width, command


def test_what_was_bought_and_what_more_would_buy_are_the_last_lines(capsys: Captured) -> None:
    objective = Objective(tanh_net(), [(torch.randn(8, 5), torch.tensor([0, 1] * 4))], "cross_entropy")
    result = landscape.run(Density(probes=2, steps=5), objective)
    print_measurements([("run", result, 90.0)])
    bought, more = capsys.readouterr().out.splitlines()[-2:]
    assert bought == f"  {result.bought()}"
    assert more == f"  {result.more(90.0)}"
    assert more.endswith(("about 3 min", "about 6 min"))
    print_measurements([("run", drawn_trace(), 1.0)])
    assert "bought" not in capsys.readouterr().out
