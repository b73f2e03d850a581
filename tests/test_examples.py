"""The examples in docs/ run end to end and show what their pages say."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT

from landscape_cli.main import status

EXAMPLE = ROOT / "docs" / "edge_of_stability.py"


@pytest.mark.slow
def test_gradient_descent_settles_at_the_edge_of_stability(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/edge-of-stability.md: the largest eigenvalue hovers just above 2 / step size (Cohen et al. 2021)."""
    subprocess.run([sys.executable, str(EXAMPLE), str(tmp_path)], check=True, cwd=ROOT)
    for rate in (0.4, 0.6, 0.8):
        run, loss = str(tmp_path / f"lr-{rate}"), f"{EXAMPLE}:half_squared_norm"
        assert status(["track", run, "--lr", str(rate), "--loss", loss, "--json", "--no-plot"]) == 0
        result = json.loads(capsys.readouterr().out)["result"]
        sharpness = [row[0] / edge for row, edge in zip(result["eig.eigenvalues"], result["edge"], strict=True)]
        assert len(sharpness) == 20
        assert 0.975 <= sum(sharpness) / len(sharpness) <= 1.10
        assert all(result["eig.confirmed"])


def test_the_counterexample_to_standard_sharpness_prints_what_its_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "sharpness.md").read_text()
    code, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL).groups()  # type: ignore[union-attr]
    (tmp_path / "page.py").write_text(code)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(tmp_path / "page.py"))
    printed = capsys.readouterr().out
    numbers = [[float(x) for x in re.findall(r"x ([\d.e+-]+)", text)] for text in (shown, printed)]
    assert len(numbers[0]) == 4
    assert numbers[1] == pytest.approx(numbers[0], rel=0.02)


@pytest.mark.slow
def test_the_commands_of_the_page_of_surfaces_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those on the samples; the page's own nets take minutes to train."""
    page = (ROOT / "docs" / "surface.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = [line.split() for block in blocks for line in block.splitlines() if "RUNS" not in line]
    shutil.copytree(ROOT / "sample_checkpoints", tmp_path / "sample_checkpoints")
    monkeypatch.chdir(tmp_path)
    ran = [command[1:] for command in commands if command[0] == "landscape" and "filter/" not in " ".join(command)]
    assert len(ran) >= 7
    for arguments in ran:
        assert status(arguments) == 0, arguments
    assert {"trajectory.surface-solid.png", "lines.pdf", "trajectory.surface.vts"} <= {
        p.name for p in tmp_path.iterdir()
    }


def test_the_nets_of_the_page_of_surfaces_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    surfaces = importlib.import_module("surfaces")
    arguments = {"model": {"blocks": 1, "width": 4}, "epochs": 1, "lr": 0.05, "batch_size": 256, "weight_decay": 0.0}
    surfaces.train_convolutional(tmp_path, "small", seed=1, **arguments)
    assert status(["surface", str(tmp_path / "small.pt"), "--dim", "1", "--grid", "5", "--no-plot"]) == 0


class TestTheGatesPage:
    """docs/check.md: its settings, its workflows and its commands."""

    PAGE = (ROOT / "docs" / "check.md").read_text()

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```", self.PAGE, re.MULTILINE | re.DOTALL)

    def test_the_settings_are_understood_and_checked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("CI", raising=False)
        (settings,) = self.blocks("toml")
        Path("landscape.toml").write_text(settings)
        shutil.copy(ROOT / "sample_checkpoints" / "digits-mlp.pt", "ckpt.pt")
        assert status(["check", "--update"]) == 0
        assert status(["check"]) == 0
        held = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["ckpt.pt"]["metrics"]
        assert list(held) == [
            *("eig.eigenvalues[0]", "eig.loss", "measures.pac_bayes_magnitude_sigma", "trace.trace"),
        ]

    def test_the_workflows_have_the_form_that_the_services_ask_for_and_their_command_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        yaml = pytest.importorskip("yaml")
        github, gitlab = (yaml.safe_load(block) for block in self.blocks("yaml"))
        assert github[True] == ["pull_request"], "YAML 1.1 reads the key `on` so"
        job = github["jobs"]["check"]
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert gitlab["flatness"]["artifacts"]["reports"] == {"junit": "landscape.xml"}
        scripts = [step["run"] for step in job["steps"] if "run" in step] + gitlab["flatness"]["script"]
        commands = [shlex.split(line) for line in scripts if line.startswith("landscape ")]
        assert len(commands) == 2
        monkeypatch.chdir(tmp_path)
        shutil.copy(ROOT / "sample_checkpoints" / "digits-mlp.pt", tmp_path)
        Path("landscape.toml").write_text(
            'checkpoint = "digits-mlp.pt"\n[check.metrics]\n"eig.eigenvalues[0]" = "2%"\n'
        )
        monkeypatch.delenv("CI", raising=False)
        assert status(["check", "--update"]) == 0
        monkeypatch.setenv("CI", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        for _, *arguments in commands:
            assert status(arguments) == 0
            assert ElementTree.parse("landscape.xml").getroot().get("failures") == "0"
        assert "1 pass" in Path("summary.md").read_text()

    def test_this_repository_gates_its_own_samples(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(r"^test:.* gate\b", makefile, re.MULTILINE)
        gated = re.findall(r"^GATED := (.*)$", makefile, re.MULTILINE)[0].split()
        held = json.loads((ROOT / "sample_checkpoints" / "baseline.json").read_text())
        assert [Path(name).name for name in gated] == list(held["checkpoints"])
        assert all(len(entry["metrics"]) == 4 for entry in held["checkpoints"].values())
