"""A run's history holds what each of its checkpoints gives alone; a later call goes on where it ended."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tracked_runs import FEW, STEPS, make_run, measured

import landscape
from landscape.errors import UsageError
from landscape.history import History, read_history
from landscape.tracking.whole_run import checkpoints_of, name_in


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_every_checkpoint_has_its_own_numbers(run: Path) -> None:
    history = landscape.track(run, [landscape.Eig(k=2)], **FEW)
    assert history.steps.tolist() == list(STEPS)
    previous = None
    for place, step in enumerate(STEPS):
        alone = landscape.run(landscape.Eig(k=2), landscape.load(run / f"step-{step:04}.pt", **FEW))
        assert history["eig.eigenvalues"][place] == pytest.approx(alone.eigenvalues, rel=1e-6)
        assert history["loss"][place] == pytest.approx(alone.loss, rel=1e-12)
        if previous is not None:
            cosines = abs((alone.vectors * previous).sum(axis=0))
            assert history["eig.cosines"][place] == pytest.approx(cosines, abs=1e-3)
        previous = alone.vectors
    assert np.isnan(history["eig.cosines"][0]).all()


def test_a_second_call_measures_what_is_new(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, hidden = run / "track.landscape.h5", run.parent / "step-0840.pt"
    (run / "step-0840.pt").rename(hidden)
    landscape.track(run, output=output, **FEW)
    hidden.rename(run / "step-0840.pt")
    names = measured(monkeypatch)
    history = landscape.track(run, output=output, **FEW)
    assert names == ["step-0840.pt"]
    assert np.array_equal(history["loss"], read_history(output)["loss"])
    assert np.isfinite(history["eig.cosines"][-1]).all()  # the vectors of step 420 were kept
    whole = landscape.track(run, **FEW)
    assert np.array_equal(history["eig.eigenvalues"], whole["eig.eigenvalues"])
    assert history["eig.cosines"][1:] == pytest.approx(whole["eig.cosines"][1:])


def test_other_options_are_refused_unless_the_run_begins_anew(run: Path) -> None:
    output = run / "track.landscape.h5"
    landscape.track(run, output=output, **FEW)
    with pytest.raises(UsageError, match="measured otherwise"):
        landscape.track([*checkpoints_of(run)[:1], new_checkpoint(run)], output=output, limit=50)
    assert len(landscape.track(run, output=output, restart=True, limit=50).moments) == len(STEPS) + 1


def new_checkpoint(run: Path) -> Path:
    """A copy of one of the checkpoints under another name."""
    return Path(shutil.copy(run / "step-0084.pt", run / "step-0100.pt"))


def test_a_learning_rate_adds_the_edge(run: Path) -> None:
    history = landscape.track(run, every=2, learning_rate=0.5, momentum=0.5, **FEW)
    assert history.steps.tolist() == [0, 420]
    assert history["edge"].tolist() == [6.0, 6.0]
    assert history["learning_rate"].tolist() == [0.5, 0.5]


def test_its_picture_and_table(run: Path) -> None:
    history = landscape.track(run, ["eig", landscape.Trace(rtol=0.3)], learning_rate=0.5, **FEW)
    assert isinstance(history, History)
    axes = history.plot()
    assert [one.get_title() for one in axes] == ["mean loss", "largest eigenvalues", "trace", "eigenvectors"]
    drawn = axes[1].get_lines()[0].get_ydata()
    assert drawn == pytest.approx(history["eig.eigenvalues"][:, 0])
    heads, rows = history.short_table()
    assert [row[0] for row in rows] == [str(step) for step in STEPS]
    assert heads[-1] == "lr * eigenvalue"
    assert [float(row[-1]) for row in rows] == pytest.approx(0.5 * history["eig.eigenvalues"][:, 0], rel=1e-3)
    assert {row[heads.index("edge")] for row in rows} == {"4"}


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        landscape.track(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no checkpoint"):
        landscape.track(tmp_path)
    with pytest.raises(UsageError, match="no checkpoint is named"):
        landscape.track([])


def test_names_are_paths_from_the_folder(tmp_path: Path) -> None:
    assert name_in(tmp_path, tmp_path / "a" / "b.pt") == "a/b.pt"


def test_the_steps_of_a_run_of_the_trainer_are_its_folders(tmp_path: Path) -> None:
    """The last model lies beside them, with files that hold no weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=5, n_positions=4)
    model = transformers.GPT2LMHeadModel(config)
    for folder in ("checkpoint-5", "checkpoint-10", "."):
        model.save_pretrained(tmp_path / folder)
    (tmp_path / "training_args.bin").write_bytes(b"no weights")
    assert [path.name for path in checkpoints_of(tmp_path)] == ["checkpoint-5", "checkpoint-10"]


@pytest.mark.parametrize(
    "other",
    [
        {"analyses": [landscape.Eig(k=1)], "limit": 50},
        {"analyses": [landscape.Eig(k=1, operator="ggn")], **FEW},
        {"analyses": [landscape.Eig(k=1), landscape.Trace()], **FEW},
    ],
    ids=["data", "options", "analyses"],
)
def test_other_options_are_refused_also_where_no_checkpoint_is_new(run: Path, other: dict[str, object]) -> None:
    """Numbers that were measured otherwise are not the answer to this command."""
    output = run / "track.landscape.h5"
    landscape.track(run, output=output, **FEW)
    stored = output.read_bytes()
    with pytest.raises(UsageError, match="measured otherwise"):
        landscape.track(run, output=output, **other)  # type: ignore[arg-type]
    assert history_of_file(stored, run) == history_of_file(output.read_bytes(), run)


def history_of_file(content: bytes, run: Path) -> dict[str, object]:
    """What a history's file holds, without the time at which it was written."""
    copy = run.parent / "copy.h5"
    copy.write_bytes(content)
    return read_history(copy).to_dict()


MODEL = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.{activation}(), torch.nn.Linear(4, 3))

def batches():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 5, generator=generator), torch.arange(24) % 3
"""


@pytest.mark.parametrize("new", [True, False], ids=["with-a-new-checkpoint", "without"])
def test_another_model_under_the_same_name_is_refused_by_the_loss(
    tmp_path: Path, new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = tmp_path / "run", tmp_path / "track.h5"
    folder.mkdir()

    def track(activation: str) -> History:
        file = tmp_path / "net_of_run.py"
        file.write_text(MODEL.format(activation=activation))
        monkeypatch.delitem(sys.modules, "net_of_run", raising=False)
        return landscape.track(
            folder, output=output, loss="cross_entropy", model=f"{file}:build", data=f"{file}:batches"
        )

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.GELU(), torch.nn.Linear(4, 3))
    torch.save(net.state_dict(), folder / "step-1.pt")
    before = track("GELU")
    assert track("GELU")["loss"].tolist() == before["loss"].tolist()
    if new:
        torch.save(net.state_dict(), folder / "step-2.pt")
    with pytest.raises(UsageError, match=r"the loss of step-1\.pt is .* now, and") as caught:
        track("SiLU")
    assert "--restart" in str(caught.value)


def test_a_broken_checkpoint_that_is_gone_leaves_the_history(run: Path) -> None:
    output = run / "track.landscape.h5"
    (run / "step-0420.pt").write_text("half a file")
    assert landscape.track(run, output=output, **FEW)["trouble"].tolist()[2]
    (run / "step-0420.pt").unlink()
    history = landscape.track(run, output=output, **FEW)
    assert history.steps.tolist() == [step for step in STEPS if step != 420]
    assert not any(history["trouble"])
    (run / "step-0084.pt").unlink()  # one that was measured stays, though its file is gone
    assert len(landscape.track(run, output=output, **FEW).moments) == len(STEPS) - 1


def test_a_path_where_nothing_is_is_no_checkpoint_that_cannot_be_measured(run: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*nothing\.pt"):
        landscape.track([run / "step-0084.pt", run / "nothing.pt"], **FEW)


def test_the_edge_has_the_momentum_of_the_optimizer_in_the_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.GELU(), torch.nn.Linear(4, 3))
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    (tmp_path / "net_of_run.py").write_text(MODEL.format(activation="GELU"))
    for step in (1, 2):
        descent.param_groups[0]["lr"] = 0.1 / step
        torch.save({"model": net.state_dict(), "optimizer": descent.state_dict()}, tmp_path / f"step-{step}.pt")
    named = {"model": f"{tmp_path / 'net_of_run.py'}:build", "data": f"{tmp_path / 'net_of_run.py'}:batches"}
    for rate in (0.1, "checkpoint"):
        history = landscape.track(
            [tmp_path / f"step-{step}.pt" for step in (1, 2)], learning_rate=rate, loss="cross_entropy", **named
        )
        expected = [38.0, 38.0] if rate == 0.1 else [38.0, 76.0]
        assert history["edge"].tolist() == pytest.approx(expected)
        assert history.attributes["edge"] == "3.8 / learning rate"
