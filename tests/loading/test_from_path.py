"""A checkpoint becomes an objective: its weights, its own description, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from torch.nn import functional

import landscape
from landscape.conditions import Conditions
from landscape.errors import CheckpointError, TaskError, UsageError
from landscape.evaluation.populations import populations
from landscape.zoo import digits, mlp


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "a.pt"
    spec = {"model": "mlp", "model_args": {"sizes": [64, 4, 10]}}
    landscape.save(path, mlp([64, 4, 10]), data="digits", loss="cross_entropy", spec=spec)
    return path


def test_the_objective_is_the_loss_of_the_saved_weights_on_the_described_data(saved: Path) -> None:
    torch.manual_seed(0)
    model, batches = mlp([64, 4, 10]), digits()
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    expected = float(functional.cross_entropy(model(x), y).detach())
    objective = landscape.load(saved)
    assert float(objective.value()) == pytest.approx(expected, rel=1e-6)
    assert objective.count == 1300


def test_conditions_may_be_an_object_or_arguments(saved: Path) -> None:
    one = landscape.load(saved, Conditions(limit=50, params=("0.*",)))
    other = landscape.load(saved, limit=50, params=("0.*",))
    assert one.identity() == other.identity()
    assert one.space.names == ("0.weight", "0.bias")


def test_what_was_found_where_is_in_the_notes_and_the_source(saved: Path) -> None:
    objective = landscape.load(saved, data="digits", origins={"data": "--data"})
    assert objective.notes[:3] == (
        "model: mlp, from the checkpoint's own description",
        "loss: cross_entropy, from the checkpoint's own description",
        "data: digits, from --data",
    )
    assert objective.source.path == saved
    assert objective.source.resolved_from["data"] == "digits, from --data"


def test_wrappers_prefixes_are_stripped_and_that_is_noted(saved: Path, tmp_path: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in mlp([64, 4, 10]).state_dict().items()}
    torch.save(weights, tmp_path / "wrapped.pt")
    objective = landscape.load(
        tmp_path / "wrapped.pt", model="mlp", model_arg=("sizes=(64, 4, 10)",), data="digits", loss="cross_entropy"
    )
    assert any("module" in note for note in objective.notes)
    assert objective.space.size == 64 * 4 + 4 + 4 * 10 + 10


@pytest.mark.parametrize("kind", ["model", "data", "loss"])
def test_objects_are_sent_to_objective(saved: Path, kind: str) -> None:
    with pytest.raises(UsageError, match=rf"load\(\) takes the {kind} by name\n.*landscape.Objective"):
        landscape.load(saved, **{kind: object()})


def test_a_small_file_that_describes_a_huge_model_is_refused_before_it_is_built(tmp_path: Path) -> None:
    spec = {"model": "mlp", "model_args": {"sizes": [64, 1 << 20, 1 << 20, 10]}}
    landscape.save(tmp_path / "bomb.pt", mlp([64, 4, 10]), data="digits", loss="cross_entropy", spec=spec)
    with pytest.raises(CheckpointError, match=r"it holds 310 numbers for 1,099,\d{3},"):
        landscape.load(tmp_path / "bomb.pt")


def test_weights_of_another_model_are_refused_by_name(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="mlp"):
        landscape.load(saved, model="mlp", model_arg=("sizes=(64, 5, 10)",))


def test_a_file_that_names_no_model_asks_for_it(tmp_path: Path) -> None:
    torch.save(mlp([3, 2]).state_dict(), tmp_path / "bare.pt")
    with pytest.raises(TaskError, match=r"does not say which model"):
        landscape.load(tmp_path / "bare.pt")


def test_the_preconditioner_is_read_from_the_named_file(saved: Path, tmp_path: Path) -> None:
    diagonal = {name: torch.full_like(tensor, 2.0) for name, tensor in mlp([64, 4, 10]).state_dict().items()}
    torch.save(diagonal, tmp_path / "adam.pt")
    objective = landscape.load(saved, preconditioner=str(tmp_path / "adam.pt"))
    assert torch.equal(objective.preconditioner, torch.full_like(objective.theta, 2.0))


def test_a_sample_describes_itself() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=100)
    assert (objective.space.size, objective.count) == (2950, 100)


class TestFrozenData:
    """`--freeze-data`: what some passes give is measured, wherever data are named."""

    DATA = """
import torch
from torch.utils.data import DataLoader, TensorDataset
def shuffled():
    x = torch.randn(60, 64, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, torch.arange(60) % 10), batch_size=20, shuffle=True)
def once():
    yield from [(x + 0.1 * torch.randn_like(x), y) for x, y in shuffled()]
def endless():
    while True:
        yield torch.randn(20, 64), torch.arange(20) % 10
"""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        path = tmp_path / "data.py"
        path.write_text(self.DATA)
        return path

    @pytest.mark.parametrize("name", ["shuffled", "once"])
    def test_the_refusal_s_remedy_works(self, saved: Path, data: Path, name: str) -> None:
        with pytest.raises(TaskError, match="--freeze-data 1"):
            landscape.load(saved, data=f"{data}:{name}")
        one, again = (landscape.load(saved, data=f"{data}:{name}", freeze_data=2) for _ in range(2))
        assert one.count == 120
        assert one.identity() == again.identity()
        assert "data frozen: 2 passes with seed 0 gave 6 batches, 0.0 MB, kept in memory" in one.notes
        assert landscape.load(saved, data=f"{data}:{name}", freeze_data=1).identity() != one.identity()

    def test_a_limit_ends_an_endless_stream(self, saved: Path, data: Path) -> None:
        assert landscape.load(saved, data=f"{data}:endless", freeze_data=1, limit=50).count == 50

    def test_what_memory_does_not_hold_is_kept_where_the_results_are(
        self, saved: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("landscape.data.freezing.room", lambda *_: 1000)
        folder = tmp_path / "results"
        folder.mkdir()
        on_disk = landscape.load(saved, data=f"{data}:once", freeze_data=2, folder=folder)
        assert any(f"kept in a file in {folder} until the end" in note for note in on_disk.notes)
        assert list(folder.iterdir()) == []
        monkeypatch.undo()
        assert landscape.load(saved, data=f"{data}:once", freeze_data=2).identity() == on_disk.identity()

    def test_populations_are_frozen_as_well(self, saved: Path, data: Path) -> None:
        objective = landscape.load(saved, data=f"{data}:once", freeze_data=1)
        assert populations(objective, [f"clean={data}:shuffled"])["clean"].count == 60


PARTS = """
import torch

def data():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(12, 3, generator=generator), torch.arange(12) % 2)]

class Net(torch.nn.Module):
    def __init__(self, out=2):
        super().__init__()
        self.encoder = torch.nn.Linear(3, 4)
        self.decoder = torch.nn.Linear(4, out)

    def forward(self, x):
        return self.decoder(torch.tanh(self.encoder(x)))

def build(out=2):
    return Net(out)
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A net of two parts in parts.py, and its weights."""
    monkeypatch.chdir(tmp_path)
    Path("parts.py").write_text(PARTS)
    generator = torch.Generator().manual_seed(0)
    shapes = {"encoder.weight": (4, 3), "encoder.bias": (4,), "decoder.weight": (2, 4), "decoder.bias": (2,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def opened(content: object, **conditions: object) -> landscape.Objective:
    torch.save(content, "a.pt")
    return landscape.load("a.pt", model="parts.py:build", data="parts.py:data", loss="cross_entropy", **conditions)


def below(state: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in state.items() if name.startswith(f"{part}.")}


def test_two_sets_of_a_file_are_the_two_parts_of_the_model(parts: dict[str, torch.Tensor]) -> None:
    whole = opened(parts)
    for names, weights in (("encoder", "decoder"), "encoder,decoder"), (("E", "D"), "encoder=E,decoder=D"):
        content = {key: below(parts, part) for key, part in zip(names, ("encoder", "decoder"), strict=True)}
        objective = opened(content, weights=weights)
        assert objective.identity() == whole.identity()
        assert any("2 tensors of" in note for note in objective.notes)
        assert objective.source.conditions["weights"] == weights


def test_a_partial_file_leaves_the_rest_to_the_factory_and_says_so(parts: dict[str, torch.Tensor]) -> None:
    encoder = {name: tensor for name, tensor in parts.items() if name.startswith("encoder")}
    objective = opened(encoder, partial=True)
    assert torch.equal(objective.space.unflatten(objective.theta)["encoder.weight"], parts["encoder.weight"])
    note = "partial: 2 tensors from a.pt; 2 kept from the model's factory: decoder.weight, decoder.bias"
    assert note in objective.notes
    assert objective.source.conditions["partial"] is True


def test_what_the_factory_draws_is_the_same_in_every_run_and_other_draws_do_not_move(
    parts: dict[str, torch.Tensor],
) -> None:
    encoder = {name: tensor for name, tensor in parts.items() if name.startswith("encoder")}
    torch.manual_seed(5)
    first = opened(encoder, partial=True).identity()
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert opened(encoder, partial=True).identity() == first
    assert opened(parts).identity() != first


def test_a_set_is_put_where_the_model_has_its_name(parts: dict[str, torch.Tensor]) -> None:
    content = {"encoder": below(parts, "encoder"), "other": {"w": torch.ones(1)}}
    objective = opened(content, weights="encoder", partial=True)
    assert any("put 'encoder.' in front of the names" in note for note in objective.notes)
    assert torch.equal(objective.space.unflatten(objective.theta)["encoder.bias"], parts["encoder.bias"])
    objective = opened({**parts, "critic.w": torch.ones(1)}, weights="encoder.*", partial=True)
    assert torch.equal(objective.space.unflatten(objective.theta)["encoder.bias"], parts["encoder.bias"])


def test_tensors_of_a_file_may_be_ignored(parts: dict[str, torch.Tensor]) -> None:
    whole = opened(parts)
    content = {**parts, "criterion.center": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"unexpected criterion.center\n.*--ignore 'criterion.\*'"):
        opened(content)
    objective = opened(content, ignore=("criterion.*",))
    assert objective.identity() == whole.identity()
    assert "ignored 1 of its tensors: criterion.center" in objective.notes


def test_a_new_head_takes_both(parts: dict[str, torch.Tensor]) -> None:
    """Three classes in place of two: the message says what to type, and it works."""
    with pytest.raises(CheckpointError, match=r"--partial --ignore decoder.weight --ignore decoder.bias"):
        opened(parts, model_arg=("out=3",))
    objective = opened(parts, model_arg=("out=3",), partial=True, ignore=("decoder.*",))
    assert objective.space.size == 16 + 15


@pytest.mark.parametrize(
    ("change", "conditions", "message"),
    [
        (lambda s: {"x.weight": torch.ones(1)}, {"partial": True}, r"--partial finds none of the model's names"),
        (lambda s: {**s, "extra": torch.ones(1)}, {"partial": True}, r"unexpected extra\n.*--ignore extra"),
        (lambda s: {"encoder.weight": torch.ones(9, 9)}, {"partial": True}, r"is \(9, 9\) there and \(4, 3\)"),
        (lambda s: {name: s[name] for name in s if "decoder" not in name}, {}, r"missing .*\n.*--partial"),
        (lambda s: {**s, "decoder.bias": slice(3)}, {}, r"decoder.bias is a builtins.slice in it"),
        (lambda s: {**s, "decoder.bias": slice(3)}, {"partial": True}, r"decoder.bias is a builtins.slice in it"),
        (lambda s: s, {"ignore": ("nothing*",)}, r"--ignore nothing\* matches no tensor"),
    ],
    ids=["no-name", "unexpected", "shape", "missing", "object", "object-partial", "glob"],
)
def test_what_does_not_fit_is_an_error_with_what_to_type(
    change: object, conditions: dict[str, object], message: str, parts: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(CheckpointError, match=message) as refusal:
        opened(change(parts), **conditions)  # type: ignore[operator]
    assert refusal.value.fix


def test_a_model_that_a_file_brings_has_all_its_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(64, 10), "a.pt")
    for choice in ({"partial": True}, {"ignore": ("bias",)}):
        with pytest.raises(UsageError, match=r"brings a model with all of them in it\n.*--model model.py:build"):
            landscape.load("a.pt", data="digits", loss="cross_entropy", trust=True, **choice)


def test_modules_rename_what_earlier_versions_of_themselves_saved(tmp_path: Path) -> None:
    """The old `weight_norm` saved `weight_g` and `weight_v`; today's module loads them under names of its own."""
    (tmp_path / "weight_normed.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))\n"
        "    return torch.nn.Sequential(layer, torch.nn.Tanh())\n"
        "def data():\n"
        "    return torch.ones(4, 3), torch.zeros(4, 2)\n"
    )
    generator = torch.Generator().manual_seed(1)
    old = {
        "0.weight_g": torch.rand(2, 1, generator=generator),
        "0.weight_v": torch.randn(2, 3, generator=generator),
        "0.bias": torch.zeros(2),
    }
    torch.save(old, tmp_path / "old.pt")
    names = {"model": f"{tmp_path}/weight_normed.py:build", "data": f"{tmp_path}/weight_normed.py:data"}
    objective = landscape.load(tmp_path / "old.pt", **names, loss="mse")
    weight = old["0.weight_g"] * old["0.weight_v"] / old["0.weight_v"].norm(dim=1, keepdim=True)
    assert float(objective.value()) == pytest.approx(float((torch.ones(4, 3) @ weight.T).tanh().square().mean()))
    assert any("names or shapes of earlier versions" in note for note in objective.notes)
    torch.save({**old, "0.more": torch.zeros(1)}, tmp_path / "more.pt")
    with pytest.raises(CheckpointError, match="does not fit"):
        landscape.load(tmp_path / "more.pt", **names, loss="mse")


TIED = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class Forgetful(torch.nn.Linear):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        state_dict.setdefault(prefix + "bias", self.bias.detach())
        super()._load_from_state_dict(state_dict, prefix, *rest)


def build():
    return Net()


def forgetful():
    return torch.nn.Sequential(Forgetful(4, 4))


def batches():
    return [(torch.ones(2, 4), torch.zeros(2, 4))]
"""


def test_a_file_in_which_tied_weights_differ_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tied.py"
    file.write_text(TIED)
    state = {
        f"{part}.{kind}": torch.randn((4, 4) if kind == "weight" else 4) for part in "ab" for kind in ("weight", "bias")
    }
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"different weights for a\.weight and b\.weight"):
        landscape.load(tmp_path / "a.pt", model=f"{file}:build", data=f"{file}:batches")


def test_a_tensor_that_a_module_hides_from_torch_is_missed(tmp_path: Path) -> None:
    file = tmp_path / "tied.py"
    file.write_text(TIED)
    torch.save({"0.weight": torch.ones(4, 4)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"missing 0\.bias"):
        landscape.load(
            tmp_path / "a.pt", model=f"{tmp_path / 'tied.py'}:forgetful", data=f"{tmp_path / 'tied.py'}:batches"
        )


def test_integers_are_not_cast_by_a_module_s_own_loading_either(tmp_path: Path) -> None:
    file = tmp_path / "tied.py"
    file.write_text(TIED)
    torch.save({"0.weight": torch.ones(4, 4, dtype=torch.int8), "0.bias": torch.ones(4)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="weight is int8 there"):
        landscape.load(tmp_path / "a.pt", model=f"{file}:forgetful", data=f"{file}:batches")
