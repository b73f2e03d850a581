"""Selects the weights to measure among the sets in a checkpoint, by a word or a location; never in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from landscape.checkpoints.formats.running_code import TRUST
from landscape.checkpoints.formats.tensor_refs import OddTensor, TensorRef
from landscape.checkpoints.names import PREFIXES, strip_wrappers
from landscape.checkpoints.weight_sets import (
    AVERAGED,
    AVERAGED_PREFIXES,
    RAW,
    WeightSet,
    find_array_sets,
    find_objects,
    find_set_at,
    find_weight_sets,
    is_foreign_object,
    is_optimizer,
    kind_with_article,
)
from landscape.errors import CheckpointError, listing, safe_excerpt, suggest

MAX_NAME_LENGTH = 1000  # characters of a tensor's name
EMA, ALL_BUT_EMA = "ema", "raw"
DATA_ONLY = "landscape opens checkpoints as data only, and opening a Python object runs code from it"


@dataclass(frozen=True)
class Selection:
    """The weights to measure, and notes on why these."""

    weight_set: WeightSet
    notes: tuple[str, ...] = ()


def select_weights(tree: Any, wanted: str | None, path: Path, ignore: Sequence[str] = ()) -> Selection:
    """Selects weights in a file: the raw ones, unless `wanted` is `ema` or the location of another set.

    `wanted` may also name several sets, separated by commas; each then keeps its key, or the word before `=`, in front
    of its names. Tensors whose names match a glob of `ignore` are left out. Raises CheckpointError if the file holds no
    such weights, several sets of which none is the usual one, weights inside a Python object, names that cannot be
    printed, or none that a glob matches.
    """
    selection = _leave_out(_select_all(tree, wanted, path), ignore, path)
    tensors = selection.weight_set.tensors
    unreadable = [name for name in tensors if not name.isprintable() or len(name) > MAX_NAME_LENGTH]
    if unreadable:
        raise CheckpointError(
            f"{path} has names that cannot be printed: {listing(map(safe_excerpt, unreadable))}",
            fix="name the tensors as a model's state dict does",
        )
    if odd := selection.weight_set.odd_keys:
        raise CheckpointError(
            f"{path} has weights that Python objects could change: {listing(map(safe_excerpt, odd))}",
            why=DATA_ONLY,
            fix="torch.save({str(name): tensor for name, tensor in state_dict.items()}, path)",
        )
    return selection


def match_globs(names: Iterable[str], globs: Sequence[str], path: Path) -> set[str]:
    """The names that match a glob; raises CheckpointError for a glob that matches none."""
    names = list(names)
    found: set[str] = set()
    spellings: list[Callable[[str], str]] = [str, strip_wrappers, *(partial(_without, prefix) for prefix in PREFIXES)]
    for glob in globs:  # errors name tensors as the model would, without what wrappers put in front
        readings = ({name for name in names if fnmatchcase(spell(name), glob)} for spell in spellings)
        matched = next((reading for reading in readings if reading), set())
        if not matched:
            raise CheckpointError(
                f"--ignore {glob} matches no tensor of {path}",
                fix=f"a glob over names such as {listing(map(safe_excerpt, names))}",
            )
        found |= matched
    return found


def _without(prefix: str, name: str) -> str:
    return strip_wrappers(name).removeprefix(prefix)


def _leave_out(selection: Selection, ignore: Sequence[str], path: Path) -> Selection:
    """The selection without the tensors whose names match a glob; raises CheckpointError if none is left."""
    weight_set = selection.weight_set
    ignored = match_globs([*weight_set.tensors, *weight_set.unread], ignore, path)
    tensors = {name: tensor for name, tensor in weight_set.tensors.items() if name not in ignored}
    if not tensors:
        raise CheckpointError(f"--ignore {' '.join(ignore)} leaves no tensors of {path}", fix="narrower globs")
    unread = {name: kind for name, kind in weight_set.unread.items() if name not in ignored}
    note = (f"ignored {len(ignored)} of its tensors: {listing(map(safe_excerpt, sorted(ignored)), 20)}",)
    return Selection(replace(weight_set, tensors=tensors, unread=unread), selection.notes + note * bool(ignored))


# -- several sets --------------------------------------------------------------------------------------------------


def _select_all(tree: Any, wanted: str | None, path: Path) -> Selection:
    """Selects one set, or several if `wanted` has commas or gives a set another name by `=`."""
    locations = {weight_set.location for weight_set in find_weight_sets(tree)}
    if wanted is None or wanted in locations or not ("," in wanted or "=" in wanted):
        return _select(tree, wanted, path)
    parts = [_select_part(tree, word.strip(), path) for word in wanted.split(",")]
    names = [name for part in parts for name in part.tensors]
    if twice := sorted({name for name in names if names.count(name) > 1} if len(names) > len(set(names)) else ()):
        raise CheckpointError(
            f"--weights {wanted} gives two tensors one name: {listing(twice)}",
            fix="give each set the name of its part of the model: --weights encoder=SET,decoder=SET",
        )
    merged: dict[str, TensorRef | OddTensor] = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    unread = {name: kind for part in parts for name, kind in part.unread.items()}
    counts = " and ".join(f"{len(part.tensors)} tensors of {part.location}" for part in parts)
    odd_keys = tuple(kind for part in parts for kind in part.odd_keys)
    return Selection(WeightSet(wanted, merged, any(part.averaged for part in parts), unread, odd_keys), (counts,))


def _select_part(tree: Any, word: str, path: Path) -> WeightSet:
    """One of several sets, with its key, or the word before `=`, in front of its names; `net.*` keeps its names."""
    name, equals, location = word.rpartition("=")
    if not location or location in (EMA, ALL_BUT_EMA):
        raise CheckpointError(
            f"--weights {word or ','} is no set of weights among several",
            fix="the locations of sets, as landscape inspect lists them, joined by commas",
        )
    selected = _select(tree, location, path).weight_set
    prefix = name if equals else selected.prefix.removesuffix(".") or selected.key
    before = f"{prefix}." if prefix else ""
    return replace(
        selected,
        location=f"{location} as {before}*" if before and before != f"{location}." else location,
        tensors={before + inner: tensor for inner, tensor in selected.tensors.items()},
        unread={before + inner: kind for inner, kind in selected.unread.items()},
        prefix="",
    )


# -- one set -------------------------------------------------------------------------------------------------------


def _select(tree: Any, wanted: str | None, path: Path) -> Selection:
    weight_sets, objects = find_weight_sets(tree), find_objects(tree)
    if wanted and wanted.endswith(".*") and all(one.location != wanted for one in weight_sets):
        return _select_below(tree, wanted, weight_sets, path)
    if wanted == EMA:
        return _select_average(weight_sets, objects, path)
    if wanted not in (None, ALL_BUT_EMA):
        known = {weight_set.location for weight_set in weight_sets}
        hidden = [*find_array_sets(tree), *filter(None, [find_set_at(tree, str(wanted))])]
        unusual = [weight_set for weight_set in hidden if weight_set.location not in known]
        return _select_location(str(wanted), [*weight_sets, *unusual], objects, path)
    raw_objects = {at: kind for at, kind in objects.items() if at.rpartition(".")[2] in RAW}
    if not weight_sets:
        raise _inside_an_object(raw_objects or objects, weight_sets, path) if objects else _no_weights(tree, path)
    if all(weight_set.averaged for weight_set in weight_sets):
        if raw_objects:
            raise _inside_an_object(raw_objects, weight_sets, path)
        if wanted == ALL_BUT_EMA:
            fix = f"{_offer(weight_sets)}, or --weights ema"
            raise CheckpointError(f"{path} holds averaged weights only, no raw ones", fix=fix)
        return Selection(weight_sets[0], (f"the only weights are averaged ones{_at(weight_sets[0])}",))
    selection = _select_raw(weight_sets, path)
    if raw_objects and wanted is None and selection.weight_set.key not in RAW:
        raise _inside_an_object(raw_objects, weight_sets, path)
    return selection


def _select_average(weight_sets: list[WeightSet], objects: Mapping[str, str], path: Path) -> Selection:
    selected = next((weight_set for weight_set in weight_sets if weight_set.averaged), None)
    averaged_objects = {at: kind for at, kind in objects.items() if at.rpartition(".")[2] in AVERAGED}
    if selected is None and averaged_objects:
        raise _inside_an_object(averaged_objects, weight_sets, path)
    if selected is None:
        raise CheckpointError(
            f"{path} holds no averaged weights",
            why=f"looked for {listing(AVERAGED, 20)}, and for names that begin with {listing(AVERAGED_PREFIXES)}",
            fix=_offer(weight_sets),
        )
    return Selection(selected, (f"the averaged weights{_at(selected)}",))


def _select_raw(weight_sets: list[WeightSet], path: Path) -> Selection:
    """Selects the raw weights at a usual location, or the only raw ones."""
    raw = [weight_set for weight_set in weight_sets if not weight_set.averaged]
    usual = [weight_set for weight_set in raw if weight_set.key in (*RAW, "")]
    if not usual and len(raw) > 1:
        several = ",".join(weight_set.location for weight_set in raw[:2])
        raise CheckpointError(
            f"{path} holds several sets of weights",
            fix=f"{_offer(weight_sets)}; or several, each a part of the model: --weights {several}",
        )
    selected, *others = [*usual, *(one for one in raw if one not in usual)]
    notes = []
    if others or not usual:
        also = f"; also there: {listing(other.location for other in others)} (--weights)" if others else ""
        notes.append(f"the weights{_at(selected)}{also}")
    if averaged := next((weight_set for weight_set in weight_sets if weight_set.averaged), None):
        notes.append(f"averaged weights are there too{_at(averaged)}: --weights ema measures them")
    return Selection(selected, tuple(notes))


def _select_location(wanted: str, weight_sets: list[WeightSet], objects: Mapping[str, str], path: Path) -> Selection:
    selected = next((weight_set for weight_set in weight_sets if weight_set.location == wanted), None)
    if selected is None and wanted in objects:
        raise _inside_an_object({wanted: objects[wanted]}, weight_sets, path)
    if selected is None:
        names = [weight_set.location for weight_set in weight_sets]
        raise CheckpointError(f"{path} holds no weights called {suggest(wanted, names)}", fix=_offer(weight_sets))
    own_name = "" if selected.key in (*RAW, *AVERAGED, "", "*") else f"{selected.key}."
    return Selection(replace(selected, prefix=selected.prefix or own_name), (f"the weights in {selected.location}",))


def _select_below(tree: Any, wanted: str, weight_sets: list[WeightSet], path: Path) -> Selection:
    """Selects `net.*` of the usual weights, or of the set at a location, `teacher.net.*`."""
    prefix = wanted.removesuffix("*")
    own = [one for one in weight_sets if one.location.endswith(f".{wanted}") or one.prefix == prefix]
    if own:  # averages in a state dict, and the weights beside them, are sets of their own
        return Selection(own[0], (f"the weights whose names begin with {prefix}",))
    for one in weight_sets:
        inner = prefix.removeprefix(f"{one.location}.")
        if inner and inner != prefix and any(name.startswith(inner) for name in one.tensors):
            return _select_prefix(inner, _select_location(one.location, weight_sets, {}, path), path)
    return _select_prefix(prefix, _select(tree, None, path), path)


def _select_prefix(prefix: str, selection: Selection, path: Path) -> Selection:
    """Selects the tensors whose names begin with a prefix, under their names without it."""
    tensors, objects = selection.weight_set.tensors, selection.weight_set.unread
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not inside:  # an error names them without the parts that wrappers add
        plain = {strip_wrappers(name): tensor for name, tensor in tensors.items()}
        plain = plain if len(plain) == len(tensors) else {}
        objects = {strip_wrappers(name): kind for name, kind in objects.items()}
        inside = {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}
    if not inside:
        raise CheckpointError(
            f"{path} has no weights whose names begin with {prefix}",
            fix=f"names begin with {listing(dict.fromkeys(name.partition('.')[0] for name in tensors))}",
        )
    unread = {name.removeprefix(prefix): kind for name, kind in objects.items() if name.startswith(prefix)}
    note = f"the weights whose names begin with {prefix}; {len(tensors) - len(inside)} others left out"
    odd_keys = selection.weight_set.odd_keys
    return Selection(WeightSet(f"{prefix}*", inside, unread=unread, odd_keys=odd_keys, prefix=prefix), (note,))


def _at(weight_set: WeightSet) -> str:
    return f" in {weight_set.location}" if weight_set.location else ""


def _offer(weight_sets: list[WeightSet]) -> str:
    """What a user may write instead, for an error's fix."""
    locations = [weight_set.location for weight_set in weight_sets if weight_set.location]
    if not locations:
        return "leave --weights out"
    return f"one of: {listing((f'--weights {location}' for location in locations), 8)}"


def _inside_an_object(objects: Mapping[str, str], weight_sets: list[WeightSet], path: Path) -> CheckpointError:
    """The error for weights that a Python object holds, which is not made."""
    held = listing(f"{location} is {_article(safe_excerpt(kind))}" for location, kind in objects.items())
    plain = "".join(f"measure others in it: --weights {one.location or ALL_BUT_EMA}, or " for one in weight_sets[:1])
    return CheckpointError(
        f"{path} holds its weights inside a Python object: {held}",
        why=DATA_ONLY,
        fix=f"{plain}re-save the weights alone: torch.save(model.state_dict(), path), or, {TRUST.format(path=path)}",
    )


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiouAEIOU' else 'a'} {kind}"


def _no_weights(tree: Any, path: Path) -> CheckpointError:
    if is_optimizer(tree):
        return CheckpointError(
            f"{path} holds an optimizer's state, and no weights", fix="name the file of the weights that it belongs to"
        )
    if isinstance(tree, Mapping):
        entries = listing(
            f"{safe_excerpt(getattr(name, 'kind', name))} ({kind_with_article(value)})" for name, value in tree.items()
        )
        what = f"{path} holds no tensors by name, only: {entries or 'an empty dictionary'}"
        fix = "save a state dict, or {'state_dict': model.state_dict()}"
    else:
        what = f"{path} holds {kind_with_article(tree)}, not a dictionary of tensors"
        fix = "torch.save(model.state_dict(), path)"
    if not any(map(is_foreign_object, tree.values() if isinstance(tree, Mapping) else [tree])):
        return CheckpointError(what, fix=fix)
    return CheckpointError(
        what,
        why=DATA_ONLY,
        fix=f"re-save the weights alone: {fix}, or, {TRUST.format(path=path)}",
    )
