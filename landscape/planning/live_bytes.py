"""Operations, and the bytes of tensors that are alive at once by what they are, on the meta device as on any other."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.utils._pytree import tree_leaves

from landscape.compute.operation_count import OperationCount

Part = Literal["vectors", "attention", "outputs", "activations"]
INSIDE: tuple[Part, ...] = ("attention", "outputs", "activations")  # of the graph of a micro-batch


@dataclass(frozen=True)
class Shapes:
    """The shapes by which a tensor's part is known.

    Those of parameters and of vectors over all of them, the last axis of the outputs, and the length of sequences.
    """

    parameters: frozenset[tuple[int, ...]]
    size: int
    outputs: int = 0
    length: int = 0

    def part(self, tensor: Tensor) -> Part:
        """The part to which a tensor of its shape belongs."""
        shape = tuple(tensor.shape)
        if tensor.numel() >= self.size or shape in self.parameters or shape[::-1] in self.parameters:
            return "vectors"
        if self.outputs and len(shape) > 1 and shape[-1] == self.outputs:
            return "outputs"
        if self.length and len(shape) > 2 and shape[-2:] == (self.length, self.length):
            return "attention"
        return "activations"


class LiveBytes(OperationCount):  # type: ignore[no-untyped-call]
    """Counts operations while it is active, and the bytes of all storages made, by part.

    `known` are tensors that exist before and are not counted. `vectors_peak` is the most that vectors over the
    parameters took at once, `inside` what each other part took when they took most together, `peak` the most of all.
    """

    def __init__(self, part: Callable[[Tensor], Part], known: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = self.vectors_peak = 0
        self.inside: Mapping[Part, int] = Counter()
        self._part, self._known = part, list(known)
        self._alive: Counter[Part] = Counter()
        self._sizes: dict[int, tuple[Part, int]] = {t.untyped_storage()._cdata: ("vectors", 0) for t in self._known}

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(function, types, args, kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return result

    @property
    def alive(self) -> int:
        """The bytes that are alive now."""
        return self._alive.total()

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._sizes or not size:
            return
        part = self._part(tensor)
        self._sizes[key] = part, size
        self._alive[part] += size
        weakref.finalize(storage, self._release, key)
        self.peak = max(self.peak, self.alive)
        self.vectors_peak = max(self.vectors_peak, self._alive["vectors"])
        if sum(self._alive[inner] for inner in INSIDE) > sum(self.inside.values()):
            self.inside = Counter({inner: self._alive[inner] for inner in INSIDE})

    def _release(self, key: int) -> None:
        part, size = self._sizes.pop(key, ("vectors", 0))
        self._alive[part] -= size
