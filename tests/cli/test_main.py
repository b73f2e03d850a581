"""The command as a user types it: answers on stdout, everything else on stderr, one exit code for each outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, SAMPLES
from processes import signal_at_first_step, start_step_by_step

import landscape
from landscape import Eig
from landscape.storage.read import read_results
from landscape.zoo import digits, mlp
from landscape_cli.main import commands, status

Captured = pytest.CaptureFixture[str]
FILES = ("mlp.landscape.h5", "mlp.eig.png")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("LANDSCAPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small self-describing checkpoint in the working directory."""
    return small(tmp_path / "mlp.pt")


def small(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    sizes = [64, 4, 10]
    landscape.save(path, mlp(sizes), data=digits("test")[0], spec={"model": "mlp", "model_args": {"sizes": sizes}})
    return path


class TestEig:
    def test_one_word_measures_and_writes_and_draws(self, ckpt: Path, capsys: Captured) -> None:
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

    def test_json_is_one_document_with_the_library_s_numbers(self, ckpt: Path, capsys: Captured) -> None:
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

    def test_several_checkpoints_give_one_table_and_a_list(self, tmp_path: Path, capsys: Captured) -> None:
        paths = [str(small(tmp_path / f"{name}.pt", seed)) for seed, name in enumerate("ab")]
        assert status(["eig", *paths, "-k", "2"]) == 0
        out = capsys.readouterr().out
        assert out.count("eigenvalues") == 1
        assert out.count("a.pt") == out.count("b.pt") == 3
        assert status(["eig", *paths, "-k", "2", "--json"]) == 0
        assert [one["checkpoint"]["path"] for one in json.loads(capsys.readouterr().out)] == paths

    def test_one_bad_checkpoint_does_not_stop_the_others(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "none.pt", "mlp.pt", "--json", "-k", "1"]) == 2
        out, err = capsys.readouterr()
        done, failed = json.loads(out)
        assert done["status"] == "complete"
        assert failed == {
            "analysis": "eig", "status": "error", "checkpoint": {"path": "none.pt"}, "error": failed["error"]
        }  # fmt: skip
        assert "there is no file none.pt" in err

    def test_the_worst_exit_code_wins(self, ckpt: Path, tmp_path: Path) -> None:
        content = torch.load(ckpt, weights_only=True)
        content["state_dict"]["0.weight"][0, 0] = float("nan")
        torch.save(content, tmp_path / "nan.pt")
        assert status(["eig", "nan.pt", "none.pt", "mlp.pt", "-k", "1"]) == 3

    def test_one_crash_does_not_lose_the_others_results(
        self, ckpt: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
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

    def test_a_full_disk_still_prints_the_answer(
        self, ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from landscape.errors import OutputError

        def full(*arguments: object, **named: object) -> None:
            raise OutputError("no space left")

        monkeypatch.setattr("landscape.session.driver.write_results", full)
        assert status(["eig", "mlp.pt", "-k", "1"]) == 2
        out, err = capsys.readouterr()
        assert "eigenvalues" in out
        assert "no space left" in err

    def test_not_converged_is_exit_3_with_the_values_so_far_and_goes_on(self, ckpt: Path, capsys: Captured) -> None:
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

    def test_an_unfinished_run_with_other_options_is_refused(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "--max-products", "6"]) == 3
        assert status(["eig", "mlp.pt", "-k", "2"]) == 2
        err = capsys.readouterr().err
        assert "k: 2 here, 5 there" in err
        assert "--restart" in err
        assert status(["eig", "mlp.pt", "-k", "2", "--restart"]) == 0

    def test_nan_weights_are_exit_3(self, ckpt: Path, capsys: Captured) -> None:
        content = torch.load(ckpt, weights_only=True)
        content["state_dict"]["0.weight"][0, 0] = float("nan")
        torch.save(content, ckpt)
        assert status(["eig", "mlp.pt"]) == 3
        assert "NaN or infinity in weights: 0.weight (1 of 256)" in capsys.readouterr().err

    def test_output_goes_where_it_is_told(self, ckpt: Path, tmp_path: Path) -> None:
        assert status(["eig", "mlp.pt", "-k", "1", "-o", "named.h5"]) == 0
        assert status(["eig", "mlp.pt", "-k", "1", "-o", "folder/"]) == 0
        assert {"named.h5", "named.eig.png"} <= set(os.listdir())
        assert sorted(os.listdir("folder")) == sorted(FILES)

    def test_checkpoints_that_would_share_a_file_are_refused(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "mlp.pt"]) == 2
        assert "several checkpoints would be written to mlp.landscape.h5" in capsys.readouterr().err

    def test_a_results_file_of_someone_else_is_left_alone(self, ckpt: Path, capsys: Captured) -> None:
        Path("mlp.landscape.h5").write_text("mine")
        assert status(["eig", "mlp.pt"]) == 2
        assert "was not written by landscape" in capsys.readouterr().err
        assert Path("mlp.landscape.h5").read_text() == "mine"

    def test_an_unwritable_folder_is_said_before_the_work(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "-o", "/proc/x.h5"]) == 2
        assert "nothing can be written into /proc" in capsys.readouterr().err

    def test_a_dry_run_prints_the_plan_and_writes_nothing(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "--dry-run"]) == 0
        out = capsys.readouterr().out
        for word in ("parameters", "310", "basis", "micro-batch", "memory", "time"):
            assert word in out
        assert os.listdir() == ["mlp.pt"]

    def test_no_plot_draws_none(self, ckpt: Path) -> None:
        assert status(["eig", "mlp.pt", "--no-plot", "-k", "1"]) == 0
        assert sorted(os.listdir()) == ["mlp.landscape.h5", "mlp.pt"]

    def test_vectors_are_saved_beside(self, ckpt: Path) -> None:
        assert status(["eig", "mlp.pt", "--save-vectors", "-k", "1"]) == 0
        assert Path("mlp.eig.safetensors").exists()

    def test_cross_check_shows_both_columns(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "--cross-check", "-k", "1", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)["result"]
        assert abs(result["pyhessian_relative_difference"][0]) < 0.05
        assert result["pyhessian_eigenvalues"][0] == pytest.approx(result["eigenvalues"][0], rel=0.05)

    def test_parameters_are_chosen_by_glob(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "--params", "2.*", "-k", "1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["result"]["parameters"] == 50

    def test_markup_in_names_is_printed_and_not_obeyed(self, tmp_path: Path, capsys: Captured) -> None:
        small(tmp_path / "[bold]x.pt")
        assert status(["eig", "[bold]x.pt", "-k", "1"]) == 0
        assert "[bold]x.pt" in capsys.readouterr().out


class TestShow:
    def test_it_prints_and_draws_what_was_stored(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["eig", "mlp.pt", "-k", "2"]) == 0
        table = capsys.readouterr().out
        Path("mlp.eig.png").unlink()
        assert status(["show", "mlp.landscape.h5"]) == 0
        assert capsys.readouterr().out == table
        assert status(["plot", "mlp.landscape.h5"]) == 0
        assert capsys.readouterr().out == ""
        assert Path("mlp.eig.png").exists()
        assert status(["show", "mlp.landscape.h5", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["analysis"] == "eig"
        assert len(shown["result"]["eigenvalues"]) == 2

    def test_a_file_that_is_not_a_result_is_said(self, ckpt: Path, capsys: Captured) -> None:
        assert status(["show", "mlp.pt"]) == 2
        assert "not an HDF5 file" in capsys.readouterr().err


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["eig"], "no checkpoint is named"),
            (["eig", "mlp.pt", "--nope"], "No such option: --nope"),
            (["eig", "mlp.pt", "-k", "many"], "-k"),
            (["eig", "mlp.pt", "-k", "0"], "--k is 0"),
            (["eig", "mlp.pt", "-k", "311"], "-k 311 eigenvalues of 310 parameters"),
            (["eig", "mlp.pt", "--which", "top"], "one of largest, smallest, magnitude, both"),
            (["eig", "mlp.pt", "--device", "cuda:99"], "--device cuda:99 is not available"),
            (["eig", "mlp.pt", "--params", "nosuch"], "no trainable parameter matches --params nosuch"),
            (["eig", "mlp.pt", "--model", "nosuch"], "no model called nosuch"),
            (["eigg"], "No such command"),
            (["--config", "none.toml", "eig"], "settings none.toml cannot be read"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_every_mistake_is_exit_2_with_a_remedy(
        self, ckpt: Path, capsys: Captured, arguments: list[str], message: str
    ) -> None:
        assert status(arguments) == 2
        err = capsys.readouterr().err
        assert message in err
        assert "internal error" not in err
        assert os.listdir() == ["mlp.pt"]

    def test_no_command_prints_the_help(self, capsys: Captured) -> None:
        assert status([]) == 0
        assert "Commands:" in capsys.readouterr().out

    def test_the_version_is_the_package_s(self, capsys: Captured) -> None:
        assert status(["--version"]) == 0
        assert capsys.readouterr().out.split() == ["landscape", "0.1.0"]

    def test_a_crash_is_exit_2_and_asks_for_a_report(
        self, ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr("landscape.session.execute", crash)
        assert status(["eig", "mlp.pt"]) == 2
        assert "internal error: ZeroDivisionError: a bug" in capsys.readouterr().err
        assert status(["--debug", "eig", "mlp.pt"]) == 2
        assert "Traceback" in capsys.readouterr().err

    def test_every_command_has_a_page_in_the_documentation(self) -> None:
        shared = {"show", "plot", "export"}
        assert all((ROOT / "docs" / f"{command}.md").exists() for command in commands() if command not in shared)
        page = (ROOT / "docs" / "surface.md").read_text()
        assert all(f"landscape {command} " in page for command in ("plot", "export"))


class TestAsAProcess:
    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "landscape_cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_prints_how_to_go_on(self, tmp_path: Path, number: signal.Signals, code: int) -> None:
        process = start_step_by_step("eig", str(SAMPLES / "digits-mlp.pt"), "-o", "a.h5")
        out, err = signal_at_first_step(process, number)
        assert process.returncode == code, err
        assert out == ""
        assert "the work is saved in a.eig.partial" in err
        assert sorted(os.listdir()) == ["a.eig.partial"]

    def test_a_reader_that_goes_away_is_no_crash(self, ckpt: Path) -> None:
        process = self.start("eig", "mlp.pt", "-k", "1")
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait() == 0
        assert "Traceback" not in err

    def test_progress_is_plain_where_there_is_no_terminal(self, ckpt: Path) -> None:
        _, err = self.start("eig", "mlp.pt", FORCE_COLOR="1").communicate()
        assert "\x1b" not in err


def test_the_stored_eigenvalues_are_those_printed(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["result"]["eigenvalues"]
    assert np.array_equal(read_results(Path("mlp.landscape.h5"))["eig"].values["eigenvalues"], printed)
