"""Threads that load and measure take turns with what torch sets for the whole process."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape.compute.turns import take_turn

Data = tuple[Tensor, Tensor]
WAIT = 1.5  # seconds for another thread to step in between, which it must not


class Meeting:
    """A thread that is at work tells so, and leaves room for another one to step in between."""

    def __init__(self) -> None:
        self.at_work, self.seen = threading.Event(), threading.Event()
        self.default_dtypes: list[torch.dtype] = []

    def model(self) -> nn.Module:
        """A net that waits in its first pass where tensors are float64 by default."""
        meeting = self

        class Waiting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = tanh_net()

            def forward(self, x: Tensor) -> Tensor:
                if torch.get_default_dtype() == torch.float64 and not meeting.at_work.is_set():
                    meeting.at_work.set()
                    meeting.seen.wait(WAIT)
                return self.net(x)  # type: ignore[no-any-return]

        return Waiting()

    def look(self) -> None:
        """What tensors are by default, while the other thread is at work, or after it."""
        self.default_dtypes.append(torch.get_default_dtype())
        self.seen.set()


FILE = """
import torch, meeting

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))

def batches():
    meeting.look()
    return meeting.data
"""


def step_in(folder: Path, meeting: Meeting) -> None:
    """Loads a checkpoint whose data function looks at torch's default, as soon as the other thread is at work."""
    file = folder / "net_in_turns.py"
    file.write_text(FILE)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    torch.save(net.state_dict(), folder / "net.pt")
    assert meeting.at_work.wait(60)
    landscape.load(folder / "net.pt", model=f"{file}:build", data=f"{file}:batches", loss="cross_entropy")


@pytest.mark.parametrize("measures", [False, True], ids=["checks", "steps"])
def test_what_another_thread_loads_is_made_as_without_this_one(
    measures: bool, classification: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = Meeting()
    monkeypatch.setitem(sys.modules, "meeting", SimpleNamespace(look=meeting.look, data=classification))

    def work() -> None:
        """Checks in float64, or a measurement in float64 whose checks are over."""
        objective = landscape.Objective(meeting.model(), [classification], "cross_entropy", dtype="float64")
        landscape.run(landscape.Eig(k=1, confirm=0), objective)

    if measures:
        meeting.at_work.set()
        objective = landscape.Objective(meeting.model(), [classification], "cross_entropy", dtype="float64")
        meeting.at_work.clear()
        task: Callable[[], object] = lambda: landscape.run(landscape.Eig(k=1, confirm=0), objective)  # noqa: E731
    else:
        task = work
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(task), pool.submit(step_in, tmp_path, meeting)]
        for one in both:
            one.result(60)
    assert meeting.default_dtypes == [torch.float32]


def test_turns_of_one_thread_are_nested_and_end_with_an_error() -> None:
    with pytest.raises(ValueError, match="first"), take_turn(), take_turn():
        raise ValueError("first")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: _taken()).result(10)


def _taken() -> bool:
    with take_turn():
        return True


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with take_turn():
            inside.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    child = multiprocessing.get_context("fork").Process(target=_taken)
    child.start()
    child.join(20)
    leave.set()
    holder.join()
    assert child.exitcode == 0
