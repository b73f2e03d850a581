"""The command as a user types it: answers on stdout, everything else on stderr, one exit code for each outcome."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import ROOT, SAMPLES
from processes import signal_at_first_step, start_step_by_step
from typer.core import TyperGroup

from landscape.compute.interrupts import STOPPED
from landscape.errors import Interrupted, TaskError
from landscape_cli.main import build_app, commands, flush_stdout, status

Captured = pytest.CaptureFixture[str]
FILES = ("mlp.landscape.h5", "mlp.eig.png")


pytestmark = pytest.mark.usefixtures("clean_folder")


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
        shared = {"show", "plot", "compare", "export"}
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


def test_commands_that_are_not_named_have_a_line_in_the_help_and_no_flags() -> None:
    every = typer.main.get_command(build_app())
    named = typer.main.get_command(build_app(["eig", "--help"]))
    assert isinstance(every, TyperGroup)
    assert isinstance(named, TyperGroup)
    assert list(named.commands) == list(every.commands) == commands()
    assert [one.help for one in named.commands.values()] == [one.help for one in every.commands.values()]
    assert len(named.commands["eig"].params) == len(every.commands["eig"].params) > 20
    assert all(len(one.params) <= 1 for name, one in named.commands.items() if name != "eig")


class TestErrorsThatAreNoRegression:
    """Exit code 1 is a regression and nothing else: whatever is raised, the command ends with 2 and words."""

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (MemoryError(), "memory ran out"),
            (
                RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
                "--micro-batch",
            ),
            (SystemExit(1), "code that this command calls ended the program"),
            (GeneratorExit(), "internal error: GeneratorExit"),
            (type("PanicException", (BaseException,), {})("a pointer is null"), "internal error: PanicException"),
        ],
        ids=["memory", "torch", "exit", "generator", "panic"],
    )
    def test_whatever_is_raised_is_exit_2(
        self,
        ckpt: Path,
        capsys: Captured,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
        message: str,
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr("landscape.session.execute", fail)
        assert status(["eig", "mlp.pt"]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert "Traceback" not in err

    def test_memory_that_runs_out_behind_another_error_is_named(
        self, ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise TaskError("the metric fails") from MemoryError()

        monkeypatch.setattr("landscape.session.execute", fail)
        assert status(["eig", "mlp.pt"]) == 2
        assert "error: memory ran out in this command\n  why:  the metric fails; " in capsys.readouterr().err

    def test_memory_that_runs_out_for_one_of_several_is_its_failure(
        self, ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise MemoryError

        shutil.copy(ckpt, "other.pt")
        monkeypatch.setattr("landscape.session.execute", fail)
        assert status(["eig", "mlp.pt", "other.pt"]) == 2
        err = capsys.readouterr().err
        assert err.count("error: memory ran out in this command") == 2
        assert "internal error" not in err

    def test_a_signal_that_a_library_has_wrapped_keeps_its_exit_code(
        self, ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise SystemError("initialization of _path raised unreported exception") from Interrupted(15, "stopped")

        monkeypatch.setattr("landscape.session.execute", fail)
        assert status(["eig", "mlp.pt"]) == 143
        assert capsys.readouterr().err.endswith(f"error: {STOPPED}\n")

    @pytest.mark.slow
    @pytest.mark.parametrize("kibibytes", [300_000, 700_000, 1_200_000])
    def test_under_a_limit_of_memory_the_command_finishes_or_says_so(self, tmp_path: Path, kibibytes: int) -> None:
        shutil.copy(SAMPLES / "digits-resnet.pt", tmp_path / "a.pt")
        limited = f"ulimit -v {kibibytes}; exec {sys.executable} -m landscape eig a.pt -k 1 --limit 100"
        done = subprocess.run(
            ["bash", "-c", limited],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 2), done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == (done.returncode == 2)


class TestFlushedStdout:
    """What is still in the buffer of stdout when the command ends."""

    @pytest.fixture
    def silenced(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        silenced: list[bool] = []
        monkeypatch.setattr("landscape_cli.main.silence_stdout", lambda: silenced.append(True))
        return silenced

    def stdout(self, monkeypatch: pytest.MonkeyPatch, error: OSError | None) -> None:
        class Stream(io.StringIO):
            def flush(self) -> None:
                if error:
                    raise error

        monkeypatch.setattr("sys.stdout", Stream())

    @pytest.mark.parametrize(("code", "after"), [(0, 2), (1, 1), (2, 2), (3, 3)])
    def test_a_full_disk_is_no_success(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        silenced: list[bool],
        code: int,
        after: int,
    ) -> None:
        self.stdout(monkeypatch, OSError(28, "No space left on device"))
        assert flush_stdout(code, ["eig"]) == after
        assert silenced == [True]
        assert ("stdout cannot be written: No space left" in capsys.readouterr().err) == (code != 2)

    def test_a_reader_that_has_gone_fails_only_a_gate(
        self, monkeypatch: pytest.MonkeyPatch, silenced: list[bool]
    ) -> None:
        self.stdout(monkeypatch, BrokenPipeError(32, "Broken pipe"))
        assert flush_stdout(0, ["eig"]) == 0
        assert flush_stdout(0, ["check"]) == 2
        self.stdout(monkeypatch, None)
        assert flush_stdout(0, ["check"]) == 0
        assert len(silenced) == 2

    @pytest.mark.parametrize("words", [["--version"], ["--help"], ["doctor"], ["check", "--help"]], ids=" ".join)
    def test_a_reader_that_leaves_at_once_is_no_fault_of_the_user_s_code(self, words: list[str]) -> None:
        """Also where a library has caught the broken pipe, and ended the program by itself."""
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "landscape", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")


class TestCompletion:
    """Shells ask for the words that are possible."""

    @pytest.mark.parametrize(
        ("words", "place", "found"),
        [("landscape ei", 1, "eig"), ("landscape eig --per", 2, "--per-layer"), ("landscape trace --rt", 2, "--rtol")],
    )
    def test_bash_is_told_commands_and_flags(self, words: str, place: int, found: str) -> None:
        asked = {"_LANDSCAPE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
        done = subprocess.run(
            [sys.executable, "-m", "landscape"], env=os.environ | asked, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.split()) == (0, [found])

    def test_the_script_of_a_shell_is_shown(
        self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Typer asks which shell has started the tests, and takes no other."""
        monkeypatch.setattr("shellingham.detect_shell", lambda *args: ("bash", "/bin/bash"))
        assert status(["--show-completion", "bash"]) == 0
        assert "complete -o default" in capfd.readouterr().out
