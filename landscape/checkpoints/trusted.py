"""Formats that run code when they are opened: only for files that the user trusts, each by its own library."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.checkpoints import selection, weight_sets
from landscape.checkpoints.checkpoint import BundledModel, Checkpoint, content_sha256
from landscape.checkpoints.formats.detection import detect_format
from landscape.checkpoints.formats.distributed import DISTRIBUTED
from landscape.checkpoints.formats.format import Format
from landscape.checkpoints.formats.running_code import EXPORTED, TORCHSCRIPT
from landscape.checkpoints.formats.tensor_refs import OddTensor
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY, Spec
from landscape.errors import CheckpointError, LandscapeError
from landscape.plugins.imports import importing_from

TRUST_NOTE = "opened with --trust: code from it may have run"


def open_trusted(path: Path, format: Format, weights: str | None, ignore: Sequence[str] = ()) -> Checkpoint:
    """The checkpoint in a file that may run code, opened by the library of its format, without the ignored tensors.

    Raises CheckpointError if the library cannot open it.
    """
    openers: Mapping[Format, Callable[[Path, str | None], Checkpoint]] = {
        EXPORTED: _open_program,
        TORCHSCRIPT: _open_torchscript,
        DISTRIBUTED: _open_dcp,
    }
    with warnings.catch_warnings(), importing_from(Path.cwd()):
        warnings.simplefilter("ignore")  # a deprecated format is still the format of the user's file
        try:
            checkpoint = openers.get(format, _unpickle)(path, weights)
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
    ignored = selection.match_globs(checkpoint.tensors, ignore, path)
    return replace(checkpoint, tensors={n: t for n, t in checkpoint.tensors.items() if n not in ignored})


def _open_program(path: Path, _: str | None) -> Checkpoint:
    program = torch.export.load(path)
    module = program.module()
    return _checkpoint(
        path, EXPORTED, dict(program.state_dict), BundledModel(lambda: "the exported program", lambda: module)
    )


def _open_torchscript(path: Path, _: str | None) -> Checkpoint:
    program = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return _checkpoint(path, TORCHSCRIPT, dict(program.state_dict()))


def _open_dcp(path: Path, weights: str | None) -> Checkpoint:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        gathered = Path(folder) / "gathered.pt"
        dcp_to_torch_save(path, gathered)
        return _checkpoint_of_tree(path, DISTRIBUTED, torch.load(gathered, map_location="cpu"), weights)


def _unpickle(path: Path, weights: str | None) -> Checkpoint:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=False)
    except RuntimeError:  # a pickle that torch.save did not write
        import pickle

        loaded = pickle.loads(path.read_bytes())
    return _checkpoint_of_tree(path, detect_format(path), loaded, weights)


def _checkpoint_of_tree(path: Path, format: Format, loaded: Any, weights: str | None) -> Checkpoint:
    """The checkpoint in a loaded object: a module, or a dictionary with a module or with tensors in it."""
    tree = loaded if isinstance(loaded, dict) else {"model": loaded}
    keys = [weights] if weights not in (None, selection.EMA, selection.ALL_BUT_EMA) else []
    wanted = keys or (list(weight_sets.AVERAGED) if weights == selection.EMA else list(weight_sets.RAW))
    module = next((tree[key] for key in wanted if isinstance(tree.get(key), nn.Module)), None)
    if module is not None:
        model = BundledModel(lambda: f"the {type(module).__name__} in it", lambda: module)
        return _checkpoint(path, format, dict(module.state_dict()), model, tree)
    tree_of_refs, tensors = _with_refs(tree)
    selected = selection.select_weights(tree_of_refs, weights, path)
    return _checkpoint(
        path, format, {n: tensors[id(ref)] for n, ref in selected.weight_set.tensors.items()}, None, tree
    )


def _with_refs(tree: Any) -> tuple[Any, dict[int, Tensor]]:
    """The tree with a placeholder for each tensor, and the tensors by id of the placeholder."""
    tensors: dict[int, Tensor] = {}

    def walk(value: Any, depth: int = 0) -> Any:
        if isinstance(value, Tensor):
            placeholder = OddTensor(str(value.layout))
            tensors[id(placeholder)] = value
            return placeholder
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
    text = tree.get(SPEC_KEY)
    spec = Spec.from_json(text, str(path)) if isinstance(text, str) else None
    extras = tree.get(DATA_KEY, {})
    return Checkpoint(
        path,
        content_sha256(files, path),
        format.name,
        {name: tensor.detach() for name, tensor in tensors.items()},
        spec,
        dict(extras) if isinstance(extras, Mapping) else {},
        lambda: weight_sets.optimizer_state(tree),
        module,
        (TRUST_NOTE,),
        groups=weight_sets.optimizer_groups(tree),
    )
