"""Formats that run code when they are opened: only for files that the user trusts, each by its own library."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.checkpoints import weight_sets
from landscape.checkpoints.checkpoint import BundledModel, Checkpoint, content_sha256
from landscape.checkpoints.formats.detection import detect_format
from landscape.checkpoints.formats.format import Format
from landscape.checkpoints.formats.running_code import DISTRIBUTED, EXPORTED, TORCHSCRIPT
from landscape.checkpoints.formats.tensor_refs import OddTensor
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY, Spec
from landscape.errors import CheckpointError, LandscapeError
from landscape.plugins.imports import importing_from

SAID = "opened with --trust: code from it may have run"


def open_trusted(path: Path, format: Format, weights: str | None) -> Checkpoint:
    """The checkpoint in a file that may run code; raises CheckpointError if its library cannot open it."""
    openers: Mapping[Format, Callable[[Path, str | None], Checkpoint]] = {
        EXPORTED: _exported,
        TORCHSCRIPT: _scripted,
        DISTRIBUTED: _distributed,
    }
    with warnings.catch_warnings(), importing_from(Path.cwd()):
        warnings.simplefilter("ignore")  # deprecations of formats that the user has all the same
        try:
            return openers.get(format, _unpickled)(path, weights)
        except LandscapeError:
            raise
        except Exception as error:  # code from the file may raise anything
            raise CheckpointError(
                f"{path} cannot be opened, though trusted: {type(error).__name__}: {error}",
                why="it names code that is not importable from here"
                if isinstance(error, ImportError | AttributeError)
                else "",
                fix="run where its classes can be imported, or save the weights alone: "
                "torch.save(model.state_dict(), path)",
            ) from error


def _exported(path: Path, _: str | None) -> Checkpoint:
    program = torch.export.load(path)
    module = program.module()
    return _checkpoint(
        path, EXPORTED, dict(program.state_dict), BundledModel(lambda: "the exported program", lambda: module)
    )


def _scripted(path: Path, _: str | None) -> Checkpoint:
    program = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return _checkpoint(path, TORCHSCRIPT, dict(program.state_dict()))


def _distributed(path: Path, weights: str | None) -> Checkpoint:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        gathered = Path(folder) / "gathered.pt"
        dcp_to_torch_save(path, gathered)
        return _from_tree(path, DISTRIBUTED, torch.load(gathered, map_location="cpu"), weights)


def _unpickled(path: Path, weights: str | None) -> Checkpoint:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=False)
    except RuntimeError:  # a pickle that torch.save did not write
        import pickle

        loaded = pickle.loads(path.read_bytes())
    return _from_tree(path, detect_format(path), loaded, weights)


def _from_tree(path: Path, format: Format, loaded: Any, weights: str | None) -> Checkpoint:
    """The weights in what a file gave: a module itself, or a dictionary with a module or with tensors in it."""
    tree = loaded if isinstance(loaded, dict) else {"model": loaded}
    places = [weights] if weights not in (None, weight_sets.EMA, weight_sets.ALL_BUT_EMA) else []
    wanted = places or (list(weight_sets.AVERAGED) if weights == weight_sets.EMA else list(weight_sets.RAW))
    module = next((tree[place] for place in wanted if isinstance(tree.get(place), nn.Module)), None)
    if module is not None:
        made = BundledModel(lambda: f"the {type(module).__name__} in it", lambda: module)
        return _checkpoint(path, format, dict(module.state_dict()), made, tree)
    described, tensors = _described(tree)
    choice = weight_sets.select_weights(described, weights, path)
    return _checkpoint(path, format, {n: tensors[id(ref)] for n, ref in choice.weight_set.tensors.items()}, None, tree)


def _described(tree: Any) -> tuple[Any, dict[int, Tensor]]:
    """The tree with a word for each tensor, as a file that is read as data has it, and the tensors by those words."""
    tensors: dict[int, Tensor] = {}

    def walk(value: Any, depth: int = 0) -> Any:
        if isinstance(value, Tensor):
            word = OddTensor(str(value.layout))
            tensors[id(word)] = value
            return word
        if isinstance(value, Mapping) and depth <= weight_sets.MAX_DEPTH:
            return {key: walk(part, depth + 1) for key, part in value.items()}
        return value

    return walk(tree), tensors


def _checkpoint(
    path: Path,
    format: Format,
    tensors: dict[str, Tensor],
    module: BundledModel | None = None,
    tree: Mapping[Any, Any] = {},
) -> Checkpoint:
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors", fix="save a state dict")
    files = (path,) if path.is_file() else tuple(sorted(file for file in path.iterdir() if file.is_file()))
    said = tree.get(SPEC_KEY)
    spec = Spec.from_json(said, str(path)) if isinstance(said, str) else None
    kept = tree.get(DATA_KEY, {})
    return Checkpoint(
        path,
        content_sha256(files, path),
        format.name,
        {name: tensor.detach() for name, tensor in tensors.items()},
        spec,
        dict(kept) if isinstance(kept, Mapping) else {},
        lambda: weight_sets.optimizer_state(tree),
        module,
        (SAID,),
    )
