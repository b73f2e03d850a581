"""Loggers, each with its real package and without a network."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training import dropout_net, samples, watch_steps

import landscape
from landscape.callbacks import Monitor
from landscape.callbacks.loggers import log_functions, logged_name, scalars_of
from landscape.errors import UsageError
from landscape.history import History

VALUES = {"landscape/loss": 0.5, "landscape/eig.eigenvalues.0": 7.0}

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the loggers' packages


def log(logger: Any, step: int = 3) -> None:
    for function in log_functions(logger):
        function(dict(VALUES), step)


def failures(logger: Any, *steps: int) -> list[str]:
    """What a monitor of a model that does not move says of a logger."""
    watch = Monitor(landscape.Eig(k=1), samples(), "cross_entropy", every=1, budget=None, logger=logger)
    with pytest.warns(UserWarning, match="a logger failed") as said:
        watch_steps(watch, dropout_net(), *steps)
    assert watch.history.steps.tolist() == list(steps)
    return [str(each.message) for each in said if "a logger failed" in str(each.message)]


# -- the names and the numbers -----------------------------------------------------------------------------------


def test_names_have_no_letters_that_a_logger_refuses() -> None:
    assert logged_name("eig.eigenvalues[0]") == "landscape/eig.eigenvalues.0"
    assert logged_name("surface.loss[1, 2]") == "landscape/surface.loss.1.2"
    assert logged_name("trace.layer_trace[net.0 (weight)]") == "landscape/trace.layer_trace.net.0_weight_"


def test_the_last_finite_numbers_are_logged() -> None:
    history = History().with_values(1, "a", {"loss": 2.0, "old": 1.0})
    history = history.with_values(2, "b", {"loss": 0.5, "bad": float("nan"), "worse": float("inf"), "good": 3.0})
    assert scalars_of(history) == {"landscape/loss": 0.5, "landscape/good": 3.0}


def test_a_measurement_has_a_number_for_each_element() -> None:
    seen: dict[str, float] = {}
    watch = Monitor(landscape.Eig(k=2), samples(), "cross_entropy", every=1, logger=lambda v, step: seen.update(v))
    watch(dropout_net(), 0)
    expected = watch.history["eig.eigenvalues"][0]
    assert [seen[f"landscape/eig.eigenvalues.{place}"] for place in (0, 1)] == expected.tolist()
    assert seen["landscape/loss"] == watch.history["loss"][0]
    assert not {name for name in seen if "step" in name.split("/")[1:] or "checkpoint" in name}


# -- the objects that users have ---------------------------------------------------------------------------------


def test_a_function_and_lists_are_loggers_and_none_is_none() -> None:
    seen: list[Any] = []
    log([lambda values, step: seen.append((values, step)), None, (lambda values, step: seen.append(step),)])
    assert seen == [(VALUES, 3), 3]
    assert log_functions(None) == []


@pytest.mark.parametrize(
    "logger", [3, "auto", logging.getLogger("landscape"), object()], ids=lambda one: type(one).__name__
)
def test_an_object_that_takes_no_numbers_is_refused(logger: Any) -> None:
    with pytest.raises(UsageError, match="is no logger of numbers"):
        log_functions(logger)


def test_tensorboard_holds_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path))
    log(writer, 3)
    log(writer, 6)
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == set(VALUES)
    assert [(event.step, event.value) for event in events.Scalars("landscape/eig.eigenvalues.0")] == [
        (3, 7.0),
        (6, 7.0),
    ]


@pytest.fixture
def wandb_run(tmp_path: Path) -> Any:
    wandb = pytest.importorskip("wandb")
    settings = wandb.Settings(console="off", x_disable_stats=True, disable_git=True, disable_code=True, silent=True)
    run = wandb.init(mode="offline", project="test", dir=str(tmp_path), settings=settings)
    yield run
    run.finish()


def test_wandb_holds_the_numbers(wandb_run: Any, tmp_path: Path) -> None:
    log(wandb_run, 3)
    log(wandb_run, 6)
    wandb_run.finish()
    pytest.importorskip("wandb").teardown()  # waits until the process that writes the file has ended
    assert stored_in_wandb(tmp_path) == [{**VALUES, "_step": 3}, {**VALUES, "_step": 6}]


def stored_in_wandb(folder: Path) -> list[dict[str, float]]:
    """The rows of history in the file of an offline run."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("*.wandb")
    rows = []
    for data in records_of(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            rows.append({name: value for name, value in items.items() if name in VALUES or name == "_step"})
    return rows


def records_of(log: bytes) -> Iterator[bytes]:
    """The records of a log in the format of LevelDB: blocks of 32 KiB, pieces with checksum, length and kind."""
    place, record, block = 7, b"", 1 << 15  # W&B writes its name and a version first
    while place + 7 <= len(log):
        if (left := block - place % block) < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", log, place)
        record += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            yield record
            record = b""


def test_a_run_of_wandb_that_is_finished_is_said_once(wandb_run: Any) -> None:
    wandb_run.finish()
    assert len(failures(wandb_run, 0, 1)) == 1


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    mlflow.set_experiment("test")
    yield mlflow
    mlflow.end_run()


def test_mlflow_holds_the_numbers(mlflow: Any) -> None:
    with mlflow.start_run() as run:
        log(mlflow, 3)
        log(mlflow, 6)
    client = mlflow.MlflowClient()
    for name, value in VALUES.items():
        assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] == [(3, value), (6, value)]


def test_mlflow_takes_all_names_of_a_measurement(mlflow: Any) -> None:
    watch = Monitor([landscape.Eig(k=2), "trace"], samples(), "cross_entropy", every=1, logger=mlflow)
    with mlflow.start_run() as run:
        watch(dropout_net(), 0)
    names = set(mlflow.MlflowClient().get_run(run.info.run_id).data.metrics)
    assert {"landscape/eig.eigenvalues.1", "landscape/trace.trace"} <= names


def test_no_run_of_mlflow_is_begun_and_the_lack_of_one_is_said_once(mlflow: Any) -> None:
    (message,) = failures(mlflow, 0, 1)
    assert "mlflow.start_run()" in message
    assert mlflow.active_run() is None
