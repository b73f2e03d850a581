"""`landscape check` as CI runs it: one exit code for each outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import SAMPLES
from gate_folders import COMMAND, FAST, LAMBDA, Captured, save_checkpoint
from processes import signal_at_first_step, start_step_by_step

import landscape
from landscape.gates import measuring
from landscape.storage.read import read_results
from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_the_usual_policy_passes_on_what_was_just_written(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--update"]) == 0
    assert "wrote landscape-baseline.json" in capsys.readouterr().err
    assert status(["check", "mlp.pt"]) == 0
    out = capsys.readouterr().out
    assert "4 pass (same-weights, landscape-baseline.json)" in out
    assert all(name in out for name in (LAMBDA, "trace.trace", "sharpness.s_avg[0]", "sharpness.s_max[0]"))


def test_a_sharper_checkpoint_is_a_regression_with_the_numbers_and_a_remedy(known: str, capsys: Captured) -> None:
    before = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["mlp.pt"]["metrics"][LAMBDA]
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", "mlp.pt", *FAST]) == 1
    out = capsys.readouterr().out
    after = landscape.run(landscape.Eig(k=1), landscape.load("mlp.pt")).eigenvalues[0]
    assert f"{before['value']:.6g}" in out
    assert f"{after:.6g}" in out
    assert f"regression: {LAMBDA} of mlp.pt: it is worse by +" in out
    assert "fix:" in out


def test_a_flatter_one_is_an_improvement_and_passes(known: str, capsys: Captured) -> None:
    save_checkpoint("mlp.pt", 0.9)
    assert status(["check", "mlp.pt", *FAST]) == 0
    assert "improvement" in capsys.readouterr().out


def test_tol_changes_what_is_allowed(known: str) -> None:
    save_checkpoint("mlp.pt", 1.03)
    assert status(["check", "mlp.pt", *FAST, "--tol", "0.01%"]) == 1
    assert status(["check", "mlp.pt", *FAST, "--tol", "50%"]) == 0


def test_without_a_baseline_nothing_is_measured_and_every_report_says_so(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    words = ["--format", "text", "--format", "github", "--format", "junit=r.xml", "--format", "json=r.json"]
    assert status(["check", "mlp.pt", *words]) == 2
    captured = capsys.readouterr()
    assert "there is no baseline landscape-baseline.json" in captured.err
    assert "is it committed?" in captured.err
    assert captured.err.count("landscape-baseline.json") == 1
    assert "verdict" not in captured.out  # no table without a row
    assert "::error title=landscape%3A landscape-baseline.json::" in captured.out
    assert ElementTree.parse("r.xml").getroot().get("errors") == "1"
    assert json.loads(Path("r.json").read_text())["exit_code"] == 2
    assert not Path("mlp.check.landscape.h5").exists()


def test_the_baseline_lies_beside_the_settings_wherever_one_stands() -> None:
    save_checkpoint("mlp.pt")
    Path("landscape.toml").write_text('checkpoint = "mlp.pt"\n')
    Path("a/b").mkdir(parents=True)
    os.chdir("a/b")
    assert status(["check", "--update", *FAST]) == 0
    assert Path("../../landscape-baseline.json").exists()
    assert status(["check", *FAST]) == 0


def test_what_it_is_compared_with_must_be_there_before_anything_is_measured(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--against", "nope.pt", *FAST]) == 2
    assert "there is no file nope.pt" in capsys.readouterr().err
    assert not Path("mlp.check.landscape.h5").exists()


def test_several_are_compared_with_one() -> None:
    save_checkpoint("mlp.pt"), save_checkpoint("x.pt"), save_checkpoint("y.pt")
    assert status(["check", "x.pt", "y.pt", "--against", "mlp.pt", *FAST]) == 0
    save_checkpoint("y.pt", 1.1)
    assert status(["check", "x.pt", "y.pt", "--against", "mlp.pt", *FAST]) == 1


def test_nan_in_the_weights_is_inconclusive(known: str, capsys: Captured) -> None:
    save_checkpoint("mlp.pt", float("nan"))
    assert status(["check", "mlp.pt", *FAST]) == 3
    out = capsys.readouterr().out
    assert "NaN or infinity in weights" in out
    assert "fix:  measure an earlier checkpoint" in out


def test_against_a_checkpoint_nothing_is_called_a_baseline(capsys: Captured) -> None:
    save_checkpoint("good.pt"), save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--against", "good.pt", *FAST, "--tol", "0%"]) == 0
    save_checkpoint("mlp.pt", 4.0)
    capsys.readouterr()
    assert status(["check", "mlp.pt", "--against", "good.pt", *FAST]) == 1
    out = capsys.readouterr().out
    assert "this is not the same function: the loss is" in out
    assert "in good.pt" in out
    assert "in the baseline" not in out
    assert "--update" not in out


def test_not_converged_is_inconclusive(known: str, capsys: Captured) -> None:
    Path("landscape.toml").write_text("[check.eig]\nk = 1\nmax_products = 2\n")
    assert status(["check", "mlp.pt", *FAST]) == 3
    assert "0 of 1 eigenvalues converged" in capsys.readouterr().out


def test_other_data_are_inconclusive(known: str, capsys: Captured) -> None:
    assert status(["check", "mlp.pt", *FAST, "--limit", "100"]) == 3
    assert "not the same measurement: data:" in capsys.readouterr().out


def test_another_option_is_inconclusive(known: str, capsys: Captured) -> None:
    Path("landscape.toml").write_text("[check.eig]\nk = 2\n")
    assert status(["check", "mlp.pt", *FAST]) == 3
    assert "k: 2, in the baseline 1" in capsys.readouterr().out


def test_what_is_no_checkpoint_is_an_error_and_the_others_are_judged(known: str, capsys: Captured) -> None:
    Path("bad.pt").write_text("no checkpoint")
    assert status(["check", "bad.pt", known, *FAST]) == 2
    captured = capsys.readouterr()
    assert "error: bad.pt is not a checkpoint" in captured.err
    assert "1 error, 1 pass" in captured.out


def test_an_error_beside_a_regression_reads_as_an_error(known: str) -> None:
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", "missing.pt", known, *FAST]) == 2


def test_a_crash_is_never_read_as_a_regression(known: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(measuring, "execute", crash)
    assert status(["check", known, *FAST]) == 2
    assert "internal error: ZeroDivisionError: boom" in capsys.readouterr().err


@pytest.mark.parametrize("reader", ["stdout", "stderr", "both"])
def test_a_reader_who_has_gone_changes_no_verdict(known: str, reader: str) -> None:
    """`landscape check ... | head -1` must not turn a regression into a pass, nor a pass into a regression."""
    own = {name: value for name, value in os.environ.items() if name != "CI"}
    running = []
    for folder, scale, code in (("sharper", 1.1, 1), ("same", 1.0, 0)):
        read, write = os.pipe()
        os.close(read)
        gone = {"stdout": write} if reader == "stdout" else {"stderr": write}
        gone = {"stdout": write, "stderr": write} if reader == "both" else gone
        streams: dict[str, int] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **gone}
        words = ["check", save_checkpoint(f"{folder}/{known}", scale), *FAST]
        running.append((subprocess.Popen([*COMMAND, *words], env=own, **streams), code))  # type: ignore[call-overload]
        os.close(write)
    for process, code in running:
        assert process.wait() == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--bogus"], ["missing.pt"]])
def test_an_error_that_cannot_be_told_is_still_no_regression(known: str, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "check", *words]
        assert subprocess.run(command, check=False, stderr=full, stdout=subprocess.DEVNULL).returncode == 2


def test_an_earlier_result_of_other_weights_is_not_left_for_these(known: str, capsys: Captured) -> None:
    assert status(["check", known, *FAST]) == 0
    save_checkpoint("mlp.pt", 1.1)
    Path("landscape.toml").write_text("[check.eig]\nk = 1\nmax_products = 2\n")
    assert status(["check", known, *FAST]) == 3
    capsys.readouterr()
    assert status(["check", "--from", "mlp.check.landscape.h5", *FAST]) == 3
    assert "pass" not in capsys.readouterr().out


def test_rounding_that_hides_a_change_is_told(capsys: Captured) -> None:
    """A sharpness of the size of its rounding."""
    Path("landscape.toml").write_text("[check.sharpness]\nrho = [1e-6]\nstarts = 1\ndraws = 2\n")
    save_checkpoint("mlp.pt")
    metric = ["--metric", "sharpness.s_max[0]"]
    assert status(["check", "mlp.pt", "--update", *metric]) == 0
    save_checkpoint("mlp.pt", 1.1)
    capsys.readouterr()
    assert status(["check", "mlp.pt", *metric]) == 0
    assert "noise hides changes below" in capsys.readouterr().out


def test_the_environment_moves_neither_policy_nor_measurement(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint("mlp.pt", 1.1)
    for name in ("DRY_RUN", "UPDATE", "LIST", "LIST_", "CALIBRATE", "TOL", "K", "SEED", "CERTIFY", "ALPHA", "KIND"):
        monkeypatch.setenv(f"LANDSCAPE_{name}", "1")
    assert status(["check", known, *FAST]) == 1


def test_results_stay_beside_the_checkpoint_and_replace_nobodys_own(known: str) -> None:
    assert status(["eig", known, "-k", "2", "--no-plot"]) == 0
    assert status(["check", known, *FAST]) == 0
    assert len(read_results(Path("mlp.landscape.h5"))["eig"].values["eigenvalues"]) == 2
    assert len(read_results(Path("mlp.check.landscape.h5"))["eig"].values["eigenvalues"]) == 1
    assert status(["check", known, *FAST, "-o", "elsewhere/"]) == 0
    assert Path("elsewhere/mlp.check.landscape.h5").exists()


def test_a_metric_that_is_left_out_for_once_is_not_stale(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--update"]) == 0
    assert status(["check", "mlp.pt", *FAST]) == 0
    assert "stale" not in capsys.readouterr().out


def test_a_dry_run_measures_nothing(known: str, capsys: Captured) -> None:
    Path("mlp.check.landscape.h5").unlink()
    assert status(["check", known, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("\n  products ") == 3
    assert not Path("mlp.check.landscape.h5").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_check_goes_on_from_there(tmp_path: Path, number: int, capsys: Captured) -> None:
    words = ["check", str(SAMPLES / "digits-resnet.pt"), "-o", f"{tmp_path}/", "--update", *FAST, "--limit", "400"]
    running = start_step_by_step(*words, CI="")
    _, err = signal_at_first_step(running, number)
    assert running.returncode == 128 + number, err
    assert "the work is saved in" in err
    assert not Path("landscape-baseline.json").exists()
    capsys.readouterr()
    assert status(words) == 0
    assert "resumed from" in capsys.readouterr().err
