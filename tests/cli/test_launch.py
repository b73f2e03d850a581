"""What a process knows of those that were started beside it, from its environment alone."""

from __future__ import annotations

import sys

import pytest

from landscape.compute.launched import is_launched
from landscape.errors import UsageError
from landscape_cli import launch


@pytest.fixture
def _second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1"), ("RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)


def test_a_process_of_its_own_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("RANK", "1")  # of a launcher that says no more is nobody's rank
    assert not is_launched()
    assert not launch.is_other_rank()
    launch.require_one_process("check")
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1"), ("RANK", "0"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)  # as containers of one process set them
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not is_launched()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert is_launched()


@pytest.mark.usefixtures("_second_of_two")
def test_another_rank_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.is_other_rank()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, getattr(sys, stream))  # put back afterwards
    launch.silence_other_ranks()
    print("twice")
    print("twice", file=sys.stderr)
    sys.stdout.close()
    sys.stderr.close()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(UsageError, match="check runs in one process"):
        launch.require_one_process("check")


@pytest.mark.parametrize(
    "words", [["--devices", "2", "eig", "a.pt"], ["eig", "a.pt", "--devices=2"], ["eig", "--devices", "2", "a.pt"]]
)
def test_the_command_of_each_process_does_not_start_others(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setattr(sys, "argv", ["landscape", *words])
    assert launch.command_of_a_process()[1:] == ["-m", "landscape", "eig", "a.pt"]


@pytest.mark.usefixtures("_second_of_two")
def test_a_process_of_several_starts_no_others() -> None:
    with pytest.raises(UsageError, match="torchrun has started the processes"):
        launch.command_of_a_process()
