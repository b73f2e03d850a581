"""The command of an analysis: answers on stdout, everything else on stderr, one exit code for each outcome."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gate_folders import Captured, save_checkpoint

import landscape
from landscape import Eig
from landscape.analyses.base import Trouble
from landscape.analyses.eig import EigResult
from landscape.storage.read import read_results
from landscape_cli import output
from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")
FILES = ("mlp.landscape.h5", "mlp.eig.png")


def test_one_word_measures_and_writes_and_draws(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt"]) == 0
    out, err = capsys.readouterr()
    assert "eigenvalues" in out
    assert "residuals" in out
    assert "loss" in out
    assert "gradient norm" in out
    assert "products" in out
    assert "time" in out
    assert "model: mlp, from the checkpoint's own description" in err
    assert "loss inferred from the shapes: cross_entropy" in err
    assert all(Path(name).exists() for name in FILES)


def test_json_is_one_document_with_the_library_s_numbers(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--json", "-k", "3"]) == 0
    document = json.loads(capsys.readouterr().out)
    result = landscape.run(Eig(k=3), landscape.load(ckpt))
    assert document["analysis"] == "eig"
    assert document["status"] == "complete"
    assert document["checkpoint"]["path"] == "mlp.pt"
    assert len(document["checkpoint"]["sha256"]) == 64
    assert document["options"]["k"] == 3
    assert document["resolved_from"]["model"].startswith("mlp")
    assert "torch" in document["environment"]
    assert document["result"]["eigenvalues"] == result.eigenvalues.tolist()
    assert document["result"]["residuals"] == result.residuals.tolist()
    assert document["result"]["converged"] == [True] * 3
    assert document["result"]["products"] == result.products
    assert document["result"]["loss"] == result.loss
    assert document["result"]["gradient_norm"] == result.gradient_norm


def test_several_checkpoints_give_one_table_and_a_list(tmp_path: Path, capsys: Captured) -> None:
    paths = [save_checkpoint(str(tmp_path / f"{name}.pt"), seed=seed) for seed, name in enumerate("ab")]
    assert status(["eig", *paths, "-k", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("eigenvalues") == 1
    assert out.count("a.pt") == out.count("b.pt") == 3
    assert status(["eig", *paths, "-k", "2", "--json"]) == 0
    assert [one["checkpoint"]["path"] for one in json.loads(capsys.readouterr().out)] == paths


def test_many_checkpoints_are_drawn_where_that_is_asked_for(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save_checkpoint(str(tmp_path / f"{name}.pt"), seed=seed) for seed, name in enumerate("ab")]
    monkeypatch.setattr(output, "MOST_DRAWN", 2)
    assert output.Output().draws(2)
    assert not output.Output().draws(3)
    monkeypatch.setattr(output, "MOST_DRAWN", 1)
    for words, drawn, said in (([], 0, 1), (["--no-plot"], 0, 0), (["--plot"], 2, 0)):
        assert status(["eig", *paths, "-k", "1", *words]) == 0
        assert len(list(tmp_path.glob("*.png"))) == drawn
        assert capsys.readouterr().err.count("no pictures of 2 checkpoints: --plot draws them") == said


def test_one_bad_checkpoint_does_not_stop_the_others(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "none.pt", "mlp.pt", "--json", "-k", "1"]) == 2
    out, err = capsys.readouterr()
    done, failed = json.loads(out)
    assert done["status"] == "complete"
    assert failed == {
        "analysis": "eig", "status": "error", "checkpoint": {"path": "none.pt"}, "error": failed["error"]
    }  # fmt: skip
    assert "there is no file none.pt" in err


def test_the_worst_exit_code_wins(ckpt: Path, tmp_path: Path) -> None:
    content = torch.load(ckpt, weights_only=True)
    content["state_dict"]["0.weight"][0, 0] = float("nan")
    torch.save(content, tmp_path / "nan.pt")
    assert status(["eig", "nan.pt", "none.pt", "mlp.pt", "-k", "1"]) == 3


def test_one_crash_does_not_lose_the_others_results(
    ckpt: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from landscape import loading

    original = loading.load

    def crash(path: Path, *rest: object, **named: object) -> object:
        return 1 / 0 if path.name == "bad.pt" else original(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load", crash)
    assert status(["eig", "mlp.pt", "bad.pt", "-k", "1", "--json"]) == 2
    done, failed = json.loads(capsys.readouterr().out)
    assert done["status"] == "complete"
    assert failed["status"] == "error"
    assert "ZeroDivisionError" in failed["error"]


def test_a_full_disk_still_prints_the_answer(ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape.errors import OutputError

    def full(*arguments: object, **named: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr("landscape.session.driver.write_results", full)
    assert status(["eig", "mlp.pt", "-k", "1"]) == 2
    out, err = capsys.readouterr()
    assert "eigenvalues" in out
    assert "no space left" in err


def test_not_converged_is_exit_3_with_the_values_so_far_and_goes_on(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--max-products", "6", "--json"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["status"] == "partial"
    assert len(document["result"]["eigenvalues"]) == 5
    assert not all(document["result"]["converged"])
    assert "inconclusive: " in err
    assert "--max-products" in err
    assert status(["eig", "mlp.pt"]) == 0
    assert "resumed from mlp.eig.partial" in capsys.readouterr().err


@pytest.mark.parametrize("fix", ["--dtype float64, or a larger --tol", "a larger --max-products"])
def test_a_remedy_that_changes_the_conditions_says_that_the_kept_work_is_in_its_way(
    ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, fix: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(EigResult, "inconclusive", lambda self: Trouble("the reason", fix))
        assert status(["eig", "mlp.pt", "-k", "1"]) == 3
    (remedy,) = [line for line in capsys.readouterr().err.splitlines() if "fix:" in line]
    assert ("--restart" in remedy) is ("--dtype" in fix)
    assert status(["eig", "mlp.pt", "-k", "1", *(["--dtype", "float64", "--restart"] if "--dtype" in fix else [])]) == 0


def test_an_unfinished_run_with_other_options_is_refused(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--max-products", "6"]) == 3
    assert status(["eig", "mlp.pt", "-k", "2"]) == 2
    err = capsys.readouterr().err
    assert "k: 2 here, 5 there" in err
    assert "--restart" in err
    assert status(["eig", "mlp.pt", "-k", "2", "--restart"]) == 0


def test_nan_weights_are_exit_3(ckpt: Path, capsys: Captured) -> None:
    content = torch.load(ckpt, weights_only=True)
    content["state_dict"]["0.weight"][0, 0] = float("nan")
    torch.save(content, ckpt)
    assert status(["eig", "mlp.pt"]) == 3
    assert "NaN or infinity in weights: 0.weight (1 of 256)" in capsys.readouterr().err


def test_output_goes_where_it_is_told(ckpt: Path, tmp_path: Path) -> None:
    assert status(["eig", "mlp.pt", "-k", "1", "-o", "named.h5"]) == 0
    assert status(["eig", "mlp.pt", "-k", "1", "-o", "folder/"]) == 0
    assert {"named.h5", "named.eig.png"} <= set(os.listdir())
    assert sorted(os.listdir("folder")) == sorted(FILES)


def test_checkpoints_that_would_share_a_file_are_refused(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "mlp.pt"]) == 2
    assert "mlp.pt is named twice" in capsys.readouterr().err


def test_a_results_file_of_someone_else_is_left_alone(ckpt: Path, capsys: Captured) -> None:
    Path("mlp.landscape.h5").write_text("mine")
    assert status(["eig", "mlp.pt"]) == 2
    assert "was not written by landscape" in capsys.readouterr().err
    assert Path("mlp.landscape.h5").read_text() == "mine"


def test_an_unwritable_folder_is_said_before_the_work(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "-o", "/proc/x.h5"]) == 2
    assert "nothing can be written into /proc" in capsys.readouterr().err


def test_no_plot_draws_none(ckpt: Path) -> None:
    assert status(["eig", "mlp.pt", "--no-plot", "-k", "1"]) == 0
    assert sorted(os.listdir()) == ["mlp.landscape.h5", "mlp.pt"]


def test_vectors_are_saved_beside(ckpt: Path) -> None:
    assert status(["eig", "mlp.pt", "--save-vectors", "-k", "1"]) == 0
    assert Path("mlp.eig.safetensors").exists()


def test_cross_check_shows_both_columns(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--cross-check", "-k", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert abs(result["pyhessian_relative_difference"][0]) < 0.05
    assert result["pyhessian_eigenvalues"][0] == pytest.approx(result["eigenvalues"][0], rel=0.05)


def test_parameters_are_chosen_by_glob(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--params", "2.*", "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["parameters"] == 50


def test_markup_in_names_is_printed_and_not_obeyed(tmp_path: Path, capsys: Captured) -> None:
    save_checkpoint("[bold]x.pt")
    assert status(["eig", "[bold]x.pt", "-k", "1"]) == 0
    assert "[bold]x.pt" in capsys.readouterr().out


def test_the_stored_eigenvalues_are_those_printed(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["result"]["eigenvalues"]
    assert np.array_equal(read_results(Path("mlp.landscape.h5"))["eig"].values["eigenvalues"], printed)


def test_verbose_prints_what_the_checks_found(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "-k", "1", "--no-plot", "--verbose"]) == 0
    err = capsys.readouterr().err
    assert "mlp.pt: purity: forward passes change nothing and draw nothing: yes" in err
    assert "mlp.pt: curvature: products are derivatives of the gradient: yes, relative difference" in err
    assert status(["eig", "mlp.pt", "-k", "1", "--no-plot"]) == 0
    assert "purity" not in capsys.readouterr().err


FAULTY = """
import torch
from torch import nn

class Saved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(1 + torch.cos(z))
        return z + torch.sin(z)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x):
        return Saved.apply(self.inner(x))

def build(): return Net()
def softmax(): return nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
def data():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(20, 4, generator=generator), torch.arange(20) % 3)]
"""


def test_a_claim_that_is_broken_is_exit_3_with_the_remedy_and_no_snapshot(capsys: Captured) -> None:
    Path("own.py").write_text(FAULTY)
    torch.save({"inner.weight": torch.randn(3, 4), "inner.bias": torch.zeros(3)}, "own.pt")
    command = ["trace", "own.pt", "--model", "own.py:build", "--data", "own.py:data", "--loss", "cross_entropy"]
    assert status([*command, "--no-plot"]) == 3
    out, err = capsys.readouterr()
    assert "inconclusive: the second derivative is not that of the gradient" in err
    assert "replace custom autograd functions" in err
    assert "trace" in out
    assert not list(Path.cwd().glob("*.partial"))
    assert status(["doctor", *command[1:]]) == 2
    assert "FAIL  curvature of your model" in capsys.readouterr().out


def test_outputs_says_what_the_model_returns(capsys: Captured) -> None:
    Path("own.py").write_text(FAULTY)
    torch.save({"0.weight": torch.randn(3, 4), "0.bias": torch.zeros(3)}, "own.pt")
    command = ["eig", "own.pt", "--model", "own.py:softmax", "--data", "own.py:data", "-k", "1", "--no-plot"]
    assert status([*command, "--loss", "cross_entropy"]) == 2
    assert "--outputs probabilities converts them" in capsys.readouterr().err
    assert status([*command, "--loss", "cross_entropy", "--outputs", "probabilities", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["conditions"]["outputs"] == "probabilities"
    assert [one["verdict"] for one in document["checks"]] == ["holds"] * 10


def test_flags_say_which_tensors_of_a_file_are_measured(ckpt: Path, capsys: Captured) -> None:
    """In `surface`, `--ignore` is about directions, and the file's tensors have the longer word; settings likewise."""
    tensors = landscape.checkpoints.read(ckpt).tensors
    torch.save({**tensors, "criterion.center": torch.ones(2)}, "more.pt")
    sizes = f"sizes=({tensors['0.weight'].shape[1]}, {tensors['0.weight'].shape[0]}, 10)"
    task = ["--model", "mlp", "--model-arg", sizes, "--data", "digits", "--limit", "40", "--no-plot"]
    assert status(["eig", "more.pt", *task, "-k", "1"]) == 2
    assert "--ignore 'criterion.*'" in capsys.readouterr().err
    assert status(["eig", "more.pt", *task, "-k", "1", "--ignore", "criterion.*"]) == 0
    out, err = capsys.readouterr()
    assert "ignored 1 of its tensors: criterion.center" in err
    assert "ignore criterion.*" in out
    grid = ["--dim", "1", "--grid", "3", "--ignore", "bias", "--ignore-tensors", "criterion.*"]
    assert status(["surface", "more.pt", *task, *grid]) == 0
    Path("landscape.toml").write_text('ignore = "criterion.*"\n[surface]\nignore = "bias"')
    assert status(["surface", "more.pt", *task, "--dim", "1", "--grid", "3", "-o", "b.h5"]) == 0
    results = [read_results(Path(name))["surface"] for name in ("more.landscape.h5", "b.h5")]
    assert results[0].attributes["fingerprint"] == results[1].attributes["fingerprint"]
    del tensors["0.bias"]
    torch.save(tensors, "fewer.pt")
    partial = ["eig", "fewer.pt", *task, "-k", "1", "--partial", "--dry-run"]
    assert status(partial) == 2  # the settings' glob matches nothing here
    Path("landscape.toml").unlink()
    assert status(partial) == 0
    assert "1 kept from the model's factory: 0.bias" in capsys.readouterr().err
