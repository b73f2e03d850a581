"""The fixture in a stranger's test suite: each run is a pytest of its own, most of them in this process."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import torch

import landscape
from landscape.zoo import digits, mlp

METRIC = "eig.eigenvalues[0]"
SIZES = [64, 4, 10]


def net(scale: float = 1.0) -> torch.nn.Module:
    torch.manual_seed(0)
    model = mlp(SIZES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    return model


def saved(path: Path, scale: float = 1.0) -> None:
    landscape.save(path, net(scale), data=digits("test")[0], spec={"model": "mlp", "model_args": {"sizes": SIZES}})


OPTIONS = ["-q", "-p", "no:cacheprovider"]


def process(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", str(folder), *arguments],
        cwd=folder, capture_output=True, text=True, check=False, env={**known, **environment},
    )  # fmt: skip


class Outcome(NamedTuple):
    returncode: int
    stdout: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """pytest in this process, which has torch already; what it imported from the folder is forgotten."""

    def runs(folder: Path, *arguments: str) -> Outcome:
        monkeypatch.chdir(folder)
        for name in ("CI", "PYTEST_ADDOPTS"):
            monkeypatch.delenv(name, raising=False)
        known = set(sys.modules)
        gc.freeze()  # pytest collects garbage when it ends: its own alone
        with warnings.catch_warnings(action="default"):  # not this suite's own
            code = pytest.main([*OPTIONS, "--import-mode=importlib", "--rootdir", str(folder), *arguments])
        gc.unfreeze()
        for name in [name for name in set(sys.modules) - known if name.startswith("test_")]:
            del sys.modules[name]
        return Outcome(int(code), capsys.readouterr().out)

    return runs


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a checkpoint, a test that checks it, and a baseline."""
    folder = tmp_path_factory.mktemp("checked")
    saved(folder / "ckpt.pt")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    (folder / "test_sharpness.py").write_text(
        f"def test_it(landscape_check):\n    landscape_check('ckpt.pt', metrics=['{METRIC}'], tol='1%')\n"
    )
    done = process(folder, "--landscape-update")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(json.loads((folder / "landscape-baseline.json").read_text())["checkpoints"]) == ["ckpt.pt"]
    return folder


@pytest.fixture
def project(checked: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return shutil.copytree(checked, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def test_the_same_checkpoint_passes_and_its_numbers_are_recorded(project: Path, run: Run) -> None:
    assert run(project, "--junit-xml", "r.xml").returncode == 0
    properties = {
        found.get("name"): float(found.get("value") or "nan")
        for found in ElementTree.parse(project / "r.xml").getroot().iter("property")
    }
    assert set(properties) == {METRIC, f"{METRIC}.baseline"}
    assert properties[METRIC] == pytest.approx(properties[f"{METRIC}.baseline"], rel=1e-6)


def test_a_sharper_one_fails_with_the_reason_and_without_a_traceback(project: Path) -> None:
    saved(project / "ckpt.pt", 1.1)
    done = process(project)
    assert done.returncode == 1
    assert f"regression: {METRIC} of ckpt.pt: it is worse by +" in done.stdout
    assert "Traceback" not in done.stdout
    assert "landscape_cli" not in done.stdout.replace("test_it", "")


@pytest.mark.parametrize(("scale", "words"), [(float("nan"), "inconclusive: ")], ids=["nan"])
def test_what_cannot_be_compared_fails_as_inconclusive(project: Path, scale: float, words: str, run: Run) -> None:
    saved(project / "ckpt.pt", scale)
    done = run(project)
    assert done.returncode == 1
    assert words in done.stdout
    assert "regression" not in done.stdout


def test_without_a_baseline_the_remedy_is_named(project: Path, run: Run) -> None:
    (project / "landscape-baseline.json").unlink()
    done = run(project)
    assert done.returncode == 1
    assert "there is no baseline" in done.stdout
    assert "pytest --landscape-update" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_update_is_refused_in_ci(project: Path) -> None:
    before = (project / "landscape-baseline.json").read_bytes()
    done = process(project, "--landscape-update", CI="true")
    assert done.returncode == 4
    assert "not updated in CI" in done.stderr
    assert (project / "landscape-baseline.json").read_bytes() == before


def test_a_marker_holds_where_the_call_names_nothing_and_two_tests_share_an_entry(project: Path, run: Run) -> None:
    (project / "test_marked.py").write_text(
        f"""
import pytest

@pytest.mark.landscape(metrics=["eig.loss", "{METRIC}"], tol="50%")
def test_marked(landscape_check):
    verdicts = landscape_check("ckpt.pt")
    assert [verdict.metric for verdict in verdicts] == ["eig.loss", "{METRIC}"]
    assert str(verdicts[0].rule.tolerance) == "50%"
"""
    )
    (project / "test_classes.py").write_text(
        f"""
import pytest

@pytest.mark.landscape(metrics=["{METRIC}"], tol="9%")
class TestBoth:
    @pytest.mark.landscape(tol="40%")
    def test_the_closest_marker_decides(self, landscape_check):
        (verdict,) = landscape_check("ckpt.pt", limit=None)
        assert (verdict.metric, str(verdict.rule.tolerance)) == ("{METRIC}", "40%")
"""
    )
    assert run(project, "--landscape-update").returncode == 0
    held = json.loads((project / "landscape-baseline.json").read_text())["checkpoints"]["ckpt.pt"]["metrics"]
    assert set(held) == {METRIC, "eig.loss"}
    done = run(project)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_tests_that_use_the_fixture_can_be_left_out_by_its_marker(project: Path, run: Run) -> None:
    (project / "test_other.py").write_text("def test_other():\n    pass\n")
    assert "1 passed, 1 deselected" in run(project, "-m", "not landscape").stdout


def test_an_objective_is_called_after_its_test_and_settings_hold(project: Path, run: Run) -> None:
    (project / "landscape.toml").write_text("[check]\nbaseline = 'gate.json'\ntol = '5%'\n[check.eig]\nk = 2\n")
    (project / "test_sharpness.py").write_text(
        f"""
import torch
import landscape
from landscape.zoo import digits, mlp

def test_in_memory(landscape_check):
    torch.manual_seed(0)
    objective = landscape.Objective(mlp({SIZES}), digits("test"), torch.nn.CrossEntropyLoss())
    (verdict,) = landscape_check(objective, metrics=["eig.eigenvalues[1]"])
    assert str(verdict.rule.tolerance) == "5%"
"""
    )
    assert run(project, "--landscape-update").returncode == 0
    assert list(json.loads((project / "gate.json").read_text())["checkpoints"]) == ["test_in_memory"]
    assert run(project).returncode == 0
    other = run(project, "--landscape-baseline", "nowhere.json")
    assert other.returncode == 1
    assert "nowhere.json" in other.stdout


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("landscape_check([])", "no checkpoint is named"),
        (f"landscape_check('ckpt.pt', {{'{METRIC}': '0.01%'}})", "0.01% is allowed"),
        (f"landscape_check('ckpt.pt', '{METRIC}', '0.01%')", "0.01% is allowed"),
        (f"landscape_check('ckpt.pt', ['{METRIC}'], limt=3)", "did you mean limit"),
        (f"landscape_check('ckpt.pt', ['{METRIC}'], limit=100)", "not the same measurement"),
        ("landscape_check('ckpt.pt', [])", "metrics names nothing"),
        ("import landscape; landscape_check(landscape.load('ckpt.pt'), limit=3)", "measured as it is, without limit"),
    ],
    ids=["nothing", "table", "one-name", "misspelt", "other-data", "no-metric", "objective"],
)
def test_nothing_passes_by_being_overlooked(project: Path, call: str, words: str, run: Run) -> None:
    saved(project / "ckpt.pt", 1.001)
    (project / "test_sharpness.py").write_text(f"def test_it(landscape_check):\n    {call}\n")
    done = run(project)
    assert done.returncode == 1
    assert words in done.stdout


@pytest.mark.parametrize("arguments", ["tolerance='1%'", "['eig.loss'], '1%', 'same-weights', 'b.json', 'more'"])
def test_a_marker_with_a_wrong_argument_is_an_error(project: Path, arguments: str, run: Run) -> None:
    (project / "test_sharpness.py").write_text(
        f"import pytest\n\n@pytest.mark.landscape({arguments})\n"
        f"def test_it(landscape_check):\n    landscape_check('ckpt.pt', ['{METRIC}'])\n"
    )
    done = run(project)
    assert done.returncode == 1
    assert "TypeError" in done.stdout


def test_retrained_nets_have_a_baseline_of_their_own(project: Path, run: Run) -> None:
    for seed in range(8):
        torch.manual_seed(seed)
        landscape.save(
            project / f"{seed}.pt", mlp(SIZES), data=digits("test")[0],
            spec={"model": "mlp", "model_args": {"sizes": SIZES}},
        )  # fmt: skip
    before = (project / "landscape-baseline.json").read_bytes()
    call = f"['{METRIC}'], kind='retrained', baseline='group.json'"

    def group(first: int, last: int) -> None:
        paths = [f"{seed}.pt" for seed in range(first, last)]
        (project / "test_group.py").write_text(f"def test_it(landscape_check):\n    landscape_check({paths}, {call})\n")

    group(0, 5)
    assert run(project, "--landscape-update").returncode == 0
    assert "baseline's own checkpoints" in run(project).stdout
    group(5, 8)
    assert run(project).returncode == 0
    assert (project / "landscape-baseline.json").read_bytes() == before


@pytest.mark.parametrize("named", ["'ckpt.pt', name='pruned'", "__import__('landscape').load('ckpt.pt')"])
def test_a_chosen_name_that_the_baseline_lacks_is_not_compared_with_another(
    project: Path, named: str, run: Run
) -> None:
    (project / "test_sharpness.py").write_text(
        f"def test_it(landscape_check):\n    landscape_check({named}, metrics=['{METRIC}'])\n"
    )
    done = run(project)
    assert done.returncode == 1
    assert "the baseline has nothing of this checkpoint" in done.stdout


def test_what_is_only_warned_of_is_a_warning(project: Path, run: Run) -> None:
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "landscape.toml").write_text(
        f"[check.metrics]\n'{METRIC}' = {{ level = 'warn', max_increase = '1%' }}\n"
    )
    (project / "test_sharpness.py").write_text("def test_it(landscape_check):\n    landscape_check('ckpt.pt')\n")
    assert run(project).returncode == 0
    saved(project / "ckpt.pt", 1.1)
    done = run(project)
    assert done.returncode == 0
    assert "LandscapeWarning" in done.stdout
    assert "it is worse by +" in done.stdout


def test_a_run_that_does_not_use_it_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        """
import sys

def test_nothing_is_loaded():
    heavy = {"torch", "numpy", "h5py", "scipy", "typer", "rich", "landscape"}
    assert "landscape_cli.pytest_plugin" in sys.modules
    assert not heavy & set(sys.modules)
"""
    )
    blocked = [word for name in ("hypothesispytest", "anyio", "pytest_cov") for word in ("-p", f"no:{name}")]
    done = process(tmp_path, *blocked)
    assert done.returncode == 0, done.stdout
