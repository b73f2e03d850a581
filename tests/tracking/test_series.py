"""Checkpoints of several runs are not drawn as one; names of one run differ in their numbers alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked_runs import FEW, make_run

import landscape
from landscape.errors import UsageError
from landscape.tracking.series import check_one_run, series_of

ONE_RUN = {
    "epochs": ["epoch_1.pt", "epoch_2.pt", "epoch_10.pt"],
    "Lightning": ["epoch=3-step=1200.ckpt", "epoch=4-step=1600.ckpt", "epoch=4-step=1600-v1.ckpt"],
    "a metric": ["epoch=3-loss=0.25.ckpt", "epoch=4-loss=0.19.ckpt", "last.ckpt"],
    "Hugging Face": ["checkpoint-500", "checkpoint-1000"],
    "DeepSpeed": ["global_step100/mp_rank_00_model_states.pt", "global_step200/mp_rank_00_model_states.pt"],
    "times": ["2024-01-01_12-30-05.pt", "2024-01-02_11-31-05.pt"],
    "no numbers": ["best.pt", "last.pt"],
    "one": ["adam-ep0001.pt"],
}
SEVERAL = {
    "optimizers": (["adam-ep0001.pt", "sgd-ep0001.pt", "gd-ep0029.pt"], "adam-ep*.pt"),
    "seeds": (["seed1_ep1.pt", "seed1_ep2.pt", "seed2_ep1.pt", "seed2_ep2.pt"], "seed1_ep*.pt"),
    "folders": (["a/step_10.pt", "a/step_20.pt", "b/step_20.pt", "b/step_30.pt"], "a/step_*.pt"),
    "averages": (["model.10.pt", "model.20.pt", "ema.10.pt", "ema.20.pt"], "model.*.pt"),
}


@pytest.mark.parametrize("names", ONE_RUN.values(), ids=ONE_RUN.keys())
def test_names_of_one_run_are_passed_in_silence(names: list[str]) -> None:
    assert check_one_run(names, refuse=True) == ""


@pytest.mark.parametrize(("names", "glob"), SEVERAL.values(), ids=SEVERAL.keys())
def test_names_of_several_runs_are_refused_with_a_glob_for_one(names: list[str], glob: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_one_run(names, refuse=True)
    assert f"landscape track '{glob}' -o " in caught.value.fix
    assert series_of(names[0]) == glob
    check_one_run(names, refuse=False)


def test_a_name_that_is_alone_is_said() -> None:
    names = ["epoch_1.pt", "epoch_3.pt", "best_epoch_3.pt"]
    assert check_one_run(names, refuse=True) == "one history of 2 kinds of names: epoch_*.pt, best_epoch_*.pt"


def test_runs_that_share_no_step_are_said() -> None:
    names = ["warm_ep1.pt", "warm_ep2.pt", "main_ep3.pt", "main_ep4.pt"]
    assert "2 kinds of names" in check_one_run(names, refuse=True)


def test_a_history_takes_checkpoints_of_one_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    first, second, *rest = sorted(run.glob("*.pt"))
    for path in rest:
        path.unlink()
    mine, other = first.rename(run / "adam-ep1.pt"), second.rename(run / "sgd-ep1.pt")
    with pytest.raises(UsageError, match="2 runs: adam-ep"):
        landscape.track(run, **FEW)
    output = tmp_path / "a.landscape.h5"
    landscape.track([mine], output=output, **FEW)
    with pytest.raises(UsageError, match="would alternate"):  # with what the history holds
        landscape.track([other], output=output, **FEW)
    assert len(landscape.track(run, step_from="name", **FEW).moments) == 2
