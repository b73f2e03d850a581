"""A run's history holds what each of its checkpoints gives alone; a later call goes on where it ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
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
