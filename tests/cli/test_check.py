"""`landscape check` as CI runs it: one exit code for each outcome, and reports that other programs read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from conftest import SAMPLES
from processes import signal_at_first_step, start_step_by_step

import landscape
from landscape.gates import measuring as checking
from landscape.storage.read import read_results
from landscape.zoo import digits, mlp
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]
LAMBDA = "eig.eigenvalues[0]"
FAST = ["--metric", LAMBDA]
COMMAND = [sys.executable, "-m", "landscape_cli"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, tmp_path)


def stand(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """In a folder, with nothing in the environment that is meant for the command."""
    for name in [name for name in os.environ if name.startswith(("LANDSCAPE_", "GITHUB_"))]:
        patch.delenv(name)
    patch.delenv("CI", raising=False)
    patch.chdir(folder)


def saved(path: str, scale: float = 1.0, seed: int = 0) -> str:
    """A small self-describing checkpoint, whose weights are scaled: the larger, the sharper."""
    torch.manual_seed(seed)
    sizes = [64, 4, 10]
    model = mlp(sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    landscape.save(path, model, data=digits("test")[0], spec={"model": "mlp", "model_args": {"sizes": sizes}})
    return path


@pytest.fixture(scope="module")
def updated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint whose lambda 1 is in the baseline."""
    folder = tmp_path_factory.mktemp("updated")
    with pytest.MonkeyPatch.context() as patch:
        stand(patch, folder)
        assert status(["check", saved("mlp.pt"), "--update", *FAST]) == 0
    return folder


@pytest.fixture
def known(updated: Path, tmp_path: Path) -> str:
    """That checkpoint and its baseline in a folder of their own."""
    shutil.copytree(updated, tmp_path, dirs_exist_ok=True)
    return "mlp.pt"


class TestOutcomes:
    def test_the_usual_policy_passes_on_what_was_just_written(self, capsys: Captured) -> None:
        saved("mlp.pt")
        assert status(["check", "mlp.pt", "--update"]) == 0
        assert "wrote landscape-baseline.json" in capsys.readouterr().err
        assert status(["check", "mlp.pt"]) == 0
        out = capsys.readouterr().out
        assert "4 pass (same-weights, landscape-baseline.json)" in out
        assert all(name in out for name in (LAMBDA, "trace.trace", "sharpness.s_avg[0]", "sharpness.s_max[0]"))

    def test_a_sharper_checkpoint_is_a_regression_with_the_numbers_and_a_remedy(
        self, known: str, capsys: Captured
    ) -> None:
        before = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["mlp.pt"]["metrics"][LAMBDA]
        saved("mlp.pt", 1.1)
        assert status(["check", "mlp.pt", *FAST]) == 1
        out = capsys.readouterr().out
        after = landscape.run(landscape.Eig(k=1), landscape.load("mlp.pt")).eigenvalues[0]
        assert f"{before['value']:.6g}" in out
        assert f"{after:.6g}" in out
        assert f"regression: {LAMBDA} of mlp.pt: it is worse by +" in out
        assert "fix:" in out

    def test_a_flatter_one_is_an_improvement_and_passes(self, known: str, capsys: Captured) -> None:
        saved("mlp.pt", 0.9)
        assert status(["check", "mlp.pt", *FAST]) == 0
        assert "improvement" in capsys.readouterr().out

    def test_tol_changes_what_is_allowed(self, known: str) -> None:
        saved("mlp.pt", 1.03)
        assert status(["check", "mlp.pt", *FAST, "--tol", "0.01%"]) == 1
        assert status(["check", "mlp.pt", *FAST, "--tol", "50%"]) == 0

    def test_without_a_baseline_nothing_is_measured_and_every_report_says_so(self, capsys: Captured) -> None:
        saved("mlp.pt")
        words = ["--format", "text", "--format", "github", "--format", "junit=r.xml", "--format", "json=r.json"]
        assert status(["check", "mlp.pt", *words]) == 2
        captured = capsys.readouterr()
        assert "there is no baseline landscape-baseline.json" in captured.err
        assert "is it committed?" in captured.err
        assert "::error title=landscape%3A landscape-baseline.json::" in captured.out
        assert ElementTree.parse("r.xml").getroot().get("errors") == "1"
        assert json.loads(Path("r.json").read_text())["exit_code"] == 2
        assert not Path("mlp.check.landscape.h5").exists()

    def test_the_baseline_lies_beside_the_settings_wherever_one_stands(self) -> None:
        saved("mlp.pt")
        Path("landscape.toml").write_text('checkpoint = "mlp.pt"\n')
        Path("a/b").mkdir(parents=True)
        os.chdir("a/b")
        assert status(["check", "--update", *FAST]) == 0
        assert Path("../../landscape-baseline.json").exists()
        assert status(["check", *FAST]) == 0

    def test_what_it_is_compared_with_must_be_there_before_anything_is_measured(self, capsys: Captured) -> None:
        saved("mlp.pt")
        assert status(["check", "mlp.pt", "--against", "nope.pt", *FAST]) == 2
        assert "there is no file nope.pt" in capsys.readouterr().err
        assert not Path("mlp.check.landscape.h5").exists()

    def test_several_are_compared_with_one(self) -> None:
        saved("mlp.pt"), saved("x.pt"), saved("y.pt")
        assert status(["check", "x.pt", "y.pt", "--against", "mlp.pt", *FAST]) == 0
        saved("y.pt", 1.1)
        assert status(["check", "x.pt", "y.pt", "--against", "mlp.pt", *FAST]) == 1

    def test_nan_in_the_weights_is_inconclusive(self, known: str, capsys: Captured) -> None:
        saved("mlp.pt", float("nan"))
        assert status(["check", "mlp.pt", *FAST]) == 3
        assert "NaN or infinity in weights" in capsys.readouterr().out

    def test_not_converged_is_inconclusive(self, known: str, capsys: Captured) -> None:
        Path("landscape.toml").write_text("[check.eig]\nk = 1\nmax_products = 2\n")
        assert status(["check", "mlp.pt", *FAST]) == 3
        assert "0 of 1 eigenvalues converged" in capsys.readouterr().out

    def test_other_data_are_inconclusive(self, known: str, capsys: Captured) -> None:
        assert status(["check", "mlp.pt", *FAST, "--limit", "100"]) == 3
        assert "not the same measurement: data:" in capsys.readouterr().out

    def test_another_option_is_inconclusive(self, known: str, capsys: Captured) -> None:
        Path("landscape.toml").write_text("[check.eig]\nk = 2\n")
        assert status(["check", "mlp.pt", *FAST]) == 3
        assert "k: 2, in the baseline 1" in capsys.readouterr().out

    def test_what_is_no_checkpoint_is_an_error_and_the_others_are_judged(self, known: str, capsys: Captured) -> None:
        Path("bad.pt").write_text("no checkpoint")
        assert status(["check", "bad.pt", known, *FAST]) == 2
        captured = capsys.readouterr()
        assert "error: bad.pt:" in captured.err
        assert "1 not measured, 1 pass" in captured.out

    def test_an_error_beside_a_regression_reads_as_an_error(self, known: str) -> None:
        saved("mlp.pt", 1.1)
        assert status(["check", "missing.pt", known, *FAST]) == 2

    def test_a_crash_is_never_read_as_a_regression(
        self, known: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError("boom")

        monkeypatch.setattr(checking, "execute", crash)
        assert status(["check", known, *FAST]) == 2
        assert "internal error: ZeroDivisionError: boom" in capsys.readouterr().err

    @pytest.mark.parametrize("reader", ["stdout", "stderr", "both"])
    def test_a_reader_who_has_gone_changes_no_verdict(self, known: str, reader: str) -> None:
        """`landscape check ... | head -1` must not turn a regression into a pass, nor a pass into a regression."""
        own = {name: value for name, value in os.environ.items() if name != "CI"}
        running = []
        for folder, scale, code in (("sharper", 1.1, 1), ("same", 1.0, 0)):
            read, write = os.pipe()
            os.close(read)
            gone = {"stdout": write} if reader == "stdout" else {"stderr": write}
            gone = {"stdout": write, "stderr": write} if reader == "both" else gone
            streams: dict[str, int] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **gone}
            words = ["check", saved(f"{folder}/{known}", scale), *FAST]
            running.append((subprocess.Popen([*COMMAND, *words], env=own, **streams), code))  # type: ignore[call-overload]
            os.close(write)
        for process, code in running:
            assert process.wait() == code

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    @pytest.mark.parametrize("words", [["--bogus"], ["missing.pt"]])
    def test_an_error_that_cannot_be_told_is_still_no_regression(self, known: str, words: list[str]) -> None:
        with Path("/dev/full").open("w") as full:
            command = [*COMMAND, "check", *words]
            assert subprocess.run(command, check=False, stderr=full, stdout=subprocess.DEVNULL).returncode == 2

    def test_an_earlier_result_of_other_weights_is_not_left_for_these(self, known: str, capsys: Captured) -> None:
        assert status(["check", known, *FAST]) == 0
        saved("mlp.pt", 1.1)
        Path("landscape.toml").write_text("[check.eig]\nk = 1\nmax_products = 2\n")
        assert status(["check", known, *FAST]) == 3
        capsys.readouterr()
        assert status(["check", "--from", "mlp.check.landscape.h5", *FAST]) == 3
        assert "pass" not in capsys.readouterr().out

    def test_rounding_that_hides_a_change_is_told(self, capsys: Captured) -> None:
        """A sharpness of the size of its rounding."""
        Path("landscape.toml").write_text("[check.sharpness]\nrho = [1e-6]\nstarts = 1\ndraws = 2\n")
        saved("mlp.pt")
        metric = ["--metric", "sharpness.s_max[0]"]
        assert status(["check", "mlp.pt", "--update", *metric]) == 0
        saved("mlp.pt", 1.1)
        capsys.readouterr()
        assert status(["check", "mlp.pt", *metric]) == 0
        assert "noise hides changes below" in capsys.readouterr().out

    def test_the_environment_moves_neither_policy_nor_measurement(
        self, known: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        saved("mlp.pt", 1.1)
        for name in ("DRY_RUN", "UPDATE", "LIST", "LIST_", "CALIBRATE", "TOL", "K", "SEED", "CERTIFY", "ALPHA", "KIND"):
            monkeypatch.setenv(f"LANDSCAPE_{name}", "1")
        assert status(["check", known, *FAST]) == 1

    def test_results_stay_beside_the_checkpoint_and_replace_nobodys_own(self, known: str) -> None:
        assert status(["eig", known, "-k", "2", "--no-plot"]) == 0
        assert status(["check", known, *FAST]) == 0
        assert len(read_results(Path("mlp.landscape.h5"))["eig"].values["eigenvalues"]) == 2
        assert len(read_results(Path("mlp.check.landscape.h5"))["eig"].values["eigenvalues"]) == 1
        assert status(["check", known, *FAST, "-o", "elsewhere/"]) == 0
        assert Path("elsewhere/mlp.check.landscape.h5").exists()

    def test_a_metric_that_is_left_out_for_once_is_not_stale(self, capsys: Captured) -> None:
        saved("mlp.pt")
        assert status(["check", "mlp.pt", "--update"]) == 0
        assert status(["check", "mlp.pt", *FAST]) == 0
        assert "stale" not in capsys.readouterr().out

    def test_a_dry_run_measures_nothing(self, known: str, capsys: Captured) -> None:
        Path("mlp.check.landscape.h5").unlink()
        assert status(["check", known, "--dry-run"]) == 0
        assert capsys.readouterr().out.count("products") == 3
        assert not Path("mlp.check.landscape.h5").exists()


class TestUpdate:
    def test_it_is_refused_in_ci_and_changes_nothing(
        self, known: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = Path("landscape-baseline.json").read_bytes()
        monkeypatch.setenv("CI", "true")
        saved("mlp.pt", 1.1)
        assert status(["check", "mlp.pt", "--update", *FAST]) == 2
        assert "CI=true" in capsys.readouterr().err
        assert Path("landscape-baseline.json").read_bytes() == before
        monkeypatch.setenv("CI", "false")
        assert status(["check", "mlp.pt", "--update", *FAST]) == 0

    @pytest.mark.parametrize("broken", ["nan", "missing", "nothing"])
    def test_nothing_is_written_if_a_number_is_missing(self, known: str, broken: str, capsys: Captured) -> None:
        before = Path("landscape-baseline.json").read_bytes()
        other = saved("other.pt", float("nan")) if broken == "nan" else "missing.pt"
        metric = ["--metric", "eig.eigenvalues[7]"] if broken == "nothing" else FAST
        paths = [known] if broken == "nothing" else [known, other]
        assert status(["check", *paths, "--update", *metric]) == (2 if broken == "missing" else 3)
        assert Path("landscape-baseline.json").read_bytes() == before
        assert capsys.readouterr().err

    def test_other_checkpoints_stay_and_the_old_number_is_shown(self, known: str, capsys: Captured) -> None:
        old = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["mlp.pt"]["metrics"][LAMBDA]
        saved("b/second.pt", 0.9)
        assert status(["check", "b/second.pt", "--update", *FAST]) == 0
        saved("mlp.pt", 1.1)
        capsys.readouterr()
        assert status(["check", "mlp.pt", "--update", *FAST]) == 0
        assert f"{old['value']:.6g}" in capsys.readouterr().out
        held = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]
        assert list(held) == ["mlp.pt", "second.pt"]
        assert status(["check", "mlp.pt", "b/second.pt", *FAST]) == 0

    def test_a_baseline_of_another_kind_is_not_lost(self, known: str, capsys: Captured) -> None:
        before = Path("landscape-baseline.json").read_bytes()
        runs = [saved(f"{seed}.pt", 1.0, seed) for seed in range(5)]
        assert status(["check", *runs, "--update", "--kind", "retrained", *FAST]) == 2
        assert "which would be lost" in capsys.readouterr().err
        assert Path("landscape-baseline.json").read_bytes() == before

    @pytest.mark.parametrize("name", ["TF_BUILD", "JENKINS_URL"])
    def test_services_that_do_not_set_ci_are_known(
        self, known: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, "True")
        assert status(["check", known, "--update", *FAST]) == 2

    def test_a_damaged_baseline_names_what_helps(self, capsys: Captured) -> None:
        saved("mlp.pt")
        Path("landscape-baseline.json").write_text("<<<<<<< HEAD")
        assert status(["check", "mlp.pt", "--update", *FAST]) == 2
        assert "restore it, or remove it" in capsys.readouterr().err
        Path("landscape-baseline.json").unlink()
        assert status(["check", "mlp.pt", "--update", *FAST]) == 0

    def test_the_baselines_name_is_free(self) -> None:
        saved("mlp.pt")
        assert status(["check", "mlp.pt", "--update", *FAST, "--baseline", "gate.lock"]) == 0
        assert status(["check", "mlp.pt", *FAST, "--baseline", "gate.lock"]) == 0
        saved("mlp.pt", 1.1)
        assert status(["check", "mlp.pt", *FAST, "--against", "gate.lock"]) == 1

    def test_what_is_no_baseline_is_not_overwritten(self, capsys: Captured) -> None:
        saved("mlp.pt")
        Path("package.json").write_text("{}")
        assert status(["check", "mlp.pt", "--update", *FAST, "--baseline", "package.json"]) == 2
        assert Path("package.json").read_text() == "{}"

    def test_an_update_of_one_metric_keeps_the_others(self) -> None:
        saved("mlp.pt")
        assert status(["check", "mlp.pt", "--update", *FAST, "--metric", "trace.trace"]) == 0
        assert status(["check", "mlp.pt", "--update", *FAST]) == 0
        held = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["mlp.pt"]["metrics"]
        assert list(held) == [LAMBDA, "trace.trace"]

    def test_the_same_names_in_several_folders_are_told_apart(self) -> None:
        first, second = saved("a/mlp.pt"), saved("b/mlp.pt", 0.8)
        assert status(["check", first, second, "--update", *FAST]) == 0
        assert list(json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]) == ["a/mlp.pt", "b/mlp.pt"]
        assert status(["check", str(Path(second).resolve()), *FAST]) == 0
        saved("b/mlp.pt", 1.1)
        assert status(["check", first, *FAST]) == 0
        assert status(["check", second, *FAST]) == 1


class TestSources:
    def test_stored_results_are_judged_without_torch(self, known: str, capsys: Captured) -> None:
        assert status(["check", known, *FAST]) == 0
        script = (
            "import sys\nfrom landscape_cli.main import status\n"
            "code = status(['check', '--from', 'mlp.check.landscape.h5', '--metric', 'eig.eigenvalues[0]'])\n"
            "sys.exit(code if 'torch' not in sys.modules and 'scipy.stats' not in sys.modules else 99)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "1 pass" in done.stdout

    def test_stored_results_of_a_sharper_net_are_a_regression(self, known: str) -> None:
        saved("sharp/mlp.pt", 1.1)
        assert status(["check", "sharp/mlp.pt", *FAST]) == 1
        assert status(["check", "--from", "sharp/mlp.check.landscape.h5", *FAST]) == 1

    def test_the_settings_checkpoint_gives_way_to_stored_results(self, known: str) -> None:
        Path("landscape.toml").write_text('checkpoint = "missing.pt"\n')
        assert status(["check", known, *FAST]) == 0
        assert status(["check", "--from", "mlp.check.landscape.h5", *FAST]) == 0

    def test_a_result_that_lacks_the_analysis_is_inconclusive(self, known: str, capsys: Captured) -> None:
        assert status(["direction", known, "-o", "d.h5"]) == 0
        assert status(["check", "--from", "d.h5", *FAST]) == 3
        assert "eig was not measured" in capsys.readouterr().out

    @pytest.mark.parametrize("other", ["old/mlp.pt", "old/mlp.check.landscape.h5", "landscape-baseline.json"])
    def test_candidates_are_compared_with_another_checkpoint_its_results_or_a_baseline(
        self, known: str, other: str
    ) -> None:
        saved("old/mlp.pt")
        assert status(["check", "old/mlp.pt", *FAST]) == 0
        saved("new.pt", 1.1)
        Path("landscape-baseline.json").rename("moved.json")
        other = "moved.json" if other.endswith(".json") else other
        assert status(["check", "new.pt", "--against", other, *FAST]) == 1
        assert status(["check", known, "--against", other, *FAST]) == 0

    def test_a_file_is_what_its_place_says(self, known: str, capsys: Captured) -> None:
        """Neither a baseline nor results are a checkpoint, and a baseline is no result: none passes as its own."""
        assert status(["check", known, *FAST]) == 0
        for words in (["landscape-baseline.json"], ["mlp.check.landscape.h5"], ["--from", "landscape-baseline.json"]):
            assert status(["check", *words, *FAST]) == 2, words
        Path(known).rename("model.json")
        assert status(["check", "model.json", *FAST]) == 0

    @pytest.mark.parametrize("text", ['{"architectures": ["x"]}', "", "[]", '{"kind": 1}'])
    def test_what_is_neither_results_nor_a_baseline_is_taken_for_a_checkpoint(
        self, known: str, text: str, capsys: Captured
    ) -> None:
        Path("config.json").write_text(text)
        assert status(["check", known, "--against", "config.json", *FAST]) == 2
        assert "is not a baseline" not in capsys.readouterr().err

    def test_a_baseline_that_was_sorted_anew_is_still_one(self, known: str) -> None:
        held = json.loads(Path("landscape-baseline.json").read_text())
        Path("sorted.json").write_text(json.dumps(held, sort_keys=True, indent=4))
        assert status(["check", known, "--against", "sorted.json", *FAST]) == 0

    def test_a_pipe_is_not_waited_for(self, known: str) -> None:
        os.mkfifo("pipe")
        given = [known, "-o", "a/", "--against", "pipe"], [known, "-o", "b/", "--baseline", "pipe"]
        cases = [*given, ["--from", "pipe"], ["pipe"]]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running = [subprocess.Popen([*COMMAND, "check", *words, *FAST], **quiet) for words in cases]
        assert [process.wait(timeout=60) for process in running] == [2] * 4

    def test_the_checkpoint_itself_may_be_what_it_is_compared_with(self, known: str) -> None:
        assert status(["check", known, "--against", known, *FAST, "-o", "out.h5"]) == 0

    def test_results_of_different_checkpoints_in_one_file_are_refused(self, known: str, capsys: Captured) -> None:
        other = saved("other.pt", 1.1)
        assert status(["eig", other, "-o", "mixed.h5", "-k", "1"]) == 0
        assert status(["direction", known, "-o", "mixed.h5"]) == 0
        assert status(["check", "--from", "mixed.h5", "--metric", "direction.slope", *FAST]) == 2
        assert "results of different weights" in capsys.readouterr().err

    def test_another_preconditioner_is_another_matrix(self, known: str, capsys: Captured) -> None:
        names = landscape.load(known).space.names
        shapes = {block.name: block.shape for block in landscape.load(known).space.blocks}
        for name, size in (("p.pt", 1.0), ("q.pt", 100.0)):
            torch.save({one: torch.full(shapes[one], size) for one in names}, name)
        Path("landscape.toml").write_text(
            '[check]\npreconditioner = "p.pt"\n[check.eig]\noperator = "preconditioned"\n'
        )
        words = ["check", known, *FAST, "--baseline", "p.json"]
        assert status([*words, "--update"]) == 0
        assert status(words) == 0
        assert status([*words, "--preconditioner", "q.pt"]) == 3
        assert "preconditioner: " in capsys.readouterr().out

    def test_retrained_checkpoints_are_compared_in_groups(self, capsys: Captured) -> None:
        kind = [*FAST, "--kind", "retrained"]
        baseline = [saved(f"run{seed}/final.pt", 1.0, seed) for seed in range(5)]
        assert status(["check", *baseline, "--update", *kind]) == 0
        assert len(json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]) == 5
        alike = [saved(f"new{seed}/final.pt", 1.0, seed) for seed in range(5, 8)]
        assert status(["check", *alike, *kind]) == 0
        assert status(["check", *alike[:2], *kind]) == 3
        capsys.readouterr()
        assert status(["check", *baseline[:4], "--update", *kind]) == 3
        assert "fewer than 5" in capsys.readouterr().err
        assert status(["check", *alike, *FAST]) == 2, "another kind"
        assert "written for --kind retrained" in capsys.readouterr().err


class TestSettings:
    def test_the_policy_stands_in_the_settings(self, capsys: Captured) -> None:
        saved("models/mlp.pt")
        Path("landscape.toml").write_text(
            """
            checkpoint = "models/mlp.pt"
            [check]
            baseline = "gates/loss.json"
            tol = "0.01%"
            format = ["text"]
            [check.metrics]
            "eig.eigenvalues[1]" = { level = "warn", max_increase = "1%" }
            "eig.loss" = { max_change = "1e-3 abs" }
            "trace.trace" = "off"
            [check.eig]
            k = 2
            tol = 1e-2
            """
        )
        Path("gates").mkdir()
        Path("elsewhere").mkdir()
        os.chdir("elsewhere")
        assert status(["check", "--update"]) == 0
        assert Path("../gates/loss.json").exists()
        assert status(["check"]) == 0
        out = capsys.readouterr().out
        assert "0.001 abs" in out
        assert "trace" not in out
        saved("../models/mlp.pt", 1.05)
        assert status(["check"]) == 1
        assert "warning: eig.eigenvalues[1]" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[check]\nkindd = 'retrained'", "did you mean kind"),
            ("[check]\nkind = 'both'", "one of same-weights, retrained"),
            ("[check]\nupdate = true", "update is not taken from settings"),
            ("[check]\nmetrics = 'eig.loss'", "[check] metrics is not a table"),
            ("[check.metrics]\n'eig.los' = 'error'", "did you mean loss"),
            ("[check.metrics]\n'eig.loss' = 0.02", "eig.loss = 0.02"),
            ("[check.egi]\nk = 1", "[check] has no table egi (did you mean eig?)"),
            ("[check.eig]\nkk = 1", "[check.eig] has no setting kk"),
            ("[check.eig]\nk = 'many'", "[check.eig]: k is 'many', not a whole number"),
            ("[check.eig]\nk = 0", "--k is 0"),
            ("[check.eig]\nk = true", "[check.eig]: k is True"),
            ("[check.eig]\nk = [1, 2]", "[check.eig]: k is [1, 2]"),
            ("[check.eig]\ncertify = 'yes'", "[check.eig]: certify is 'yes'"),
            ("[check]\ntol = 2", "the tolerance '2'"),
            ("[check]\nformat = 'xml'", "--format xml"),
            ("[check]\nlimit = 0", "--limit is 0"),
        ],
        ids=lambda value: str(value).replace("\n", " ")[:24],
    )
    def test_what_is_wrong_is_named(self, known: str, text: str, words: str, capsys: Captured) -> None:
        Path("landscape.toml").write_text(text)
        assert status(["check", known]) == 2
        assert words in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--update", "--calibrate", "3"], "two commands"),
            (["--update", "--against", "x.json"], "--against is what to compare with"),
            (["--from", "x.h5"], "both candidates"),
            (["--metric", "eig.nothing"], "has no number"),
            (["--tol", "1"], "is not understood"),
            (["--format", "json", "--format", "github"], "cannot share stdout"),
            (["--calibrate", "1"], "--calibrate is 1"),
            (["--alpha", "2"], "--alpha is 2"),
            (["--kind", "both"], "--kind is 'both'"),
            (["--update", "--json"], "--update prints a table"),
            (["--calibrate", "2", "--json"], "--calibrate prints a table"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_flags_that_make_no_sense_are_refused(
        self, known: str, flags: list[str], words: str, capsys: Captured
    ) -> None:
        assert status(["check", known, *flags]) == 2
        assert words in capsys.readouterr().err

    def test_no_checkpoint_is_an_error(self, capsys: Captured) -> None:
        assert status(["check"]) == 2
        assert "no checkpoint is named" in capsys.readouterr().err


class TestReports:
    def test_json_is_one_document(self, known: str, capsys: Captured) -> None:
        saved("mlp.pt", 1.1)
        for flags in (["--json"], ["--format", "json"]):
            assert status(["check", known, *FAST, *flags]) == 1
            document = json.loads(capsys.readouterr().out)
            assert document["exit_code"] == 1
            (verdict,) = document["verdicts"]
            assert (verdict["metric"], verdict["status"]) == (LAMBDA, "regression")
            assert verdict["change"] == pytest.approx(verdict["candidate"] / verdict["baseline"] - 1)

    def test_a_report_replaces_the_earlier_one(self, known: str) -> None:
        for _ in range(2):
            assert status(["check", known, *FAST, "--format", "junit=report.xml"]) == 0
            assert ElementTree.parse("report.xml").getroot().get("tests") == "1"

    def test_several_reports_go_to_several_places(
        self, known: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        Path("summary.md").write_text("before\n")
        formats = [
            "--format",
            "github",
            "--format",
            "junit=report.xml",
            "--format",
            "markdown",
            "--format",
            "json=r.json",
        ]
        saved("mlp.pt", 1.1)
        assert status(["check", known, *FAST, *formats]) == 1
        assert capsys.readouterr().out.startswith(f"::error title=landscape%3A {LAMBDA}::")
        suite = ElementTree.parse("report.xml").getroot()
        assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
        assert Path("summary.md").read_text().startswith("before\n### landscape check: 1 regression")
        assert json.loads(Path("r.json").read_text())["exit_code"] == 1

    def test_a_report_that_cannot_be_written_is_an_error(self, known: str, capsys: Captured) -> None:
        assert status(["check", known, *FAST, "--format", "junit=nowhere/r.xml"]) == 2
        assert "nowhere/r.xml cannot be written" in capsys.readouterr().err


class TestOthers:
    def test_the_list_names_every_number_without_torch(self) -> None:
        script = (
            "import sys\nfrom landscape_cli.main import status\ncode = status(['check', '--list'])\n"
            "sys.exit(code if 'torch' not in sys.modules else 99)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "eig.eigenvalues[0] *" in done.stdout
        assert "gate on [0]" in done.stdout
        assert "surface.barrier" in done.stdout

    def test_the_list_shows_values_where_there_are_results(self, known: str, capsys: Captured) -> None:
        assert status(["check", known, *FAST]) == 0
        value = read_results(Path("mlp.check.landscape.h5"))["eig"].values["eigenvalues"][0]
        capsys.readouterr()
        assert status(["check", known, "--list"]) == 0
        assert f"{value:.6g}" in capsys.readouterr().out
        for words in (["--from", "mlp.check.landscape.h5"], ["mlp.check.landscape.h5"]):
            assert status(["check", "--list", *words]) == 0
            assert f"{value:.6g}" in capsys.readouterr().out
        assert status(["check", "--list", "nope.pt"]) == 2

    def test_calibration_tells_the_smallest_change_that_is_seen(self, capsys: Captured) -> None:
        saved("mlp.pt")
        assert status(["check", "mlp.pt", *FAST, "--metric", "sharpness.s_avg[0]", "--calibrate", "3"]) == 0
        out = capsys.readouterr().out
        assert "spread" in out
        assert "other seed" in out
        rows = [line.split() for line in out.splitlines() if line.strip().startswith("mlp.pt")]
        assert [row[1] for row in rows] == [LAMBDA, "sharpness.s_avg[0]"]
        assert not Path("landscape-baseline.json").exists()

    def test_calibration_of_what_has_no_number_is_inconclusive(self, capsys: Captured) -> None:
        saved("mlp.pt", float("nan"))
        assert status(["check", "mlp.pt", *FAST, "--calibrate", "2"]) in (2, 3)
        saved("mlp.pt")
        Path("landscape.toml").write_text("[check.eig]\nmax_products = 2\n")
        assert status(["check", "mlp.pt", *FAST, "--calibrate", "2"]) == 3
        assert "eigenvalues converged" in capsys.readouterr().out

    def test_calibration_of_retrained_checkpoints(self, capsys: Captured) -> None:
        paths = [saved(f"{seed}.pt", 1.0, seed) for seed in range(3)]
        assert status(["check", *paths, *FAST, "--kind", "retrained", "--calibrate", "2"]) == 0
        assert "3 checkpoints" in capsys.readouterr().out
        assert status(["check", paths[0], *FAST, "--kind", "retrained", "--calibrate", "2"]) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
    def test_an_interrupted_check_goes_on_from_there(self, tmp_path: Path, number: int, capsys: Captured) -> None:
        words = ["check", str(SAMPLES / "digits-resnet.pt"), "-o", f"{tmp_path}/", "--update", *FAST, "--limit", "400"]
        running = start_step_by_step(*words, CI="")
        _, err = signal_at_first_step(running, number)
        assert running.returncode == 128 + number, err
        assert "the work is saved in" in err
        assert not Path("landscape-baseline.json").exists()
        capsys.readouterr()
        assert status(words) == 0
        assert "resumed from" in capsys.readouterr().err
