"""The mean loss as a function of a theta of which every rank holds a part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from landscape.compute.shards import Shards, in_force
from landscape.data.batches import Batch, to_device
from landscape.errors import UsageError
from landscape.network.gathered_units import UNSHARDED, Key, Passage, Stage, require_no_leaks
from landscape.objective.checks.check import Check
from landscape.objective.checks.closing import Measured
from landscape.objective.objective import Objective
from landscape.objective.preparation import Prepared, Weights
from landscape.objective.reference import Reference
from landscape.objective.sharded.closing import PART_CHECKS
from landscape.objective.sharded.function import ShardedFunction
from landscape.objective.sharded.preparation import check_parts
from landscape.objective.sharded.stored_vectors import read_vectors, save_vectors
from landscape.objective.sharded.sums import PartSums, PassStep, steps
from landscape.objective.sharded.weights import Fetch, cut_weights
from landscape.objective.user_errors import reraise_user_errors

T = TypeVar("T")


class ShardedObjective(Objective):
    """As `Objective`, with theta, gradients and products in parts on the ranks: `(length,)` for `(P,)` everywhere.

    `fetch` reads the model's tensors by name, one at a time, if the model is on the meta device; else the model is
    given up to the objective. With `on_host` theta, vectors and basis lie in the memory of the host, and weights are on
    the device while their module runs. All ranks call all methods. `eig`, `trace` and `density` measure it, with
    products of the Hessian.

    Raises UsageError for what needs all weights on one rank.
    """

    examine: ClassVar[Callable[..., Prepared] | None] = staticmethod(check_parts)
    closing_checks: ClassVar[tuple[Check[Measured], ...]] = PART_CHECKS
    function: ShardedFunction

    def __init__(
        self,
        model: nn.Module,
        batches: Any,
        loss: Any = None,
        *,
        fetch: Fetch | None = None,
        on_host: bool = False,
        **options: Any,
    ):
        settings = options.get("settings")
        refused = {
            "--objective": options.get("objective"),
            "--weight-decay": options.get("weight_decay"),
            "--weights-dtype": settings is not None and settings.keeps_narrow_weights,
            "--hvp": settings is not None and settings.hvp not in ("auto", "loop"),
        }
        if named := [name for name, given in refused.items() if given]:
            raise UsageError(f"--shard on excludes {' and '.join(named)}", fix=f"leave it out, or {UNSHARDED}")
        self._fetch, self._on_host = fetch, on_host
        options.pop("share_memory", None)
        super().__init__(model, batches, loss, **options)
        self.theta_digest = self.digest()

    @property
    def preconditioner(self) -> NoReturn:
        """Raises UsageError: the optimizer's diagonal is read whole."""
        raise UsageError("--shard on reads no preconditioner", fix=f"--operator hessian, or {UNSHARDED}")

    def _read_weights(self, model: nn.Module, params: tuple[str, ...], loss: Any, *, share: bool) -> Weights:
        del share
        fetch, self._fetch = self._fetch, None
        return cut_weights(model, params, self.device, self.dtype, loss, self.mode, self.ranks, fetch, self._on_host)

    @property
    def shards(self) -> Shards:
        """How vectors of parameters lie on the ranks."""
        return self._passage.measured

    @property
    def _passage(self) -> Passage:
        return self.function.passage

    def vectors(self) -> AbstractContextManager[None]:
        """The block in which inner products are those of whole vectors."""
        return in_force(self.shards)

    def parts_by_name(self, vector: Tensor) -> dict[str, Tensor]:
        """What this rank holds of a vector for each tensor of the parameters, by name."""
        return {name: self.shards.part(vector, index) for index, name in enumerate(self.space.names)}

    @cached_property
    def reference(self) -> Reference:
        """The loss and gradient norm at theta; raises NumericalError if not finite."""
        with self.vectors():
            found: Reference = Objective.reference.func(self)  # type: ignore[attr-defined]
        return found

    def digest(self) -> str:
        """A hash of the weights and buffers that this rank holds."""
        sha = hashlib.sha256()
        for tensor in (self.theta, self._passage.held, *self.function.fixed.values()):
            sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return sha.hexdigest()

    def identity(self) -> dict[str, Any]:
        """As of an objective whose weights are whole, and how vectors are cut: it decides the last bits."""
        return {**super().identity(), "shards": f"{self.shards.pieces} pieces"}

    # -- vectors in files ----------------------------------------------------------------------------------------

    def holds_part(self, array: np.ndarray) -> bool:
        """Whether an array holds this rank's parts of vectors, along its last axis."""
        return array.ndim > 0 and array.dtype.kind == "f" and array.shape[-1] == self.shards.length

    def save_vectors(self, vectors: Mapping[str, np.ndarray], directory: Path) -> None:
        """Writes the parts of vectors `(..., length)` by name, with those of all ranks; raises OutputError."""
        save_vectors(vectors, self.shards, directory)

    def read_vectors(self, shapes: Mapping[str, Sequence[int]], directory: Path) -> dict[str, np.ndarray]:
        """This rank's parts of the vectors in a directory, `(*shape, length)` by name."""
        return read_vectors(shapes, self.shards, directory, self.dtype)

    # -- passes over the data ------------------------------------------------------------------------------------

    def sums(
        self,
        kernel: Callable[[Batch], tuple[Tensor, ...]],
        batches: Iterable[Batch] | None = None,
        shrink: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, ...]:
        """The sums over all micro-batches of tensors that each of them has whole; all ranks get them."""
        del shrink
        found = []
        with self._pass():
            for step in self._steps("forward", batches):
                parts = kernel(step.batch)
                found.append([part.cpu() for part in parts] if step.having[self.ranks.rank] else None)
        rows = self._in_order(found)
        return tuple(sum(parts[1:], parts[0]).to(self.device) for parts in zip(*rows, strict=True))

    def value(self, theta: Tensor | None = None) -> Tensor:
        """L(theta), shape (), float64."""
        point = self.theta if theta is None else theta
        with torch.no_grad():
            return self.sums(lambda batch: (self.batch_total(point, batch).double(),))[0] / self.count

    def value_and_gradient(self, theta: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """L(theta), shape (), float64, and the part of its gradient that this rank holds, `(length,)`."""
        point = self.theta if theta is None else theta
        losses: list[Tensor | None] = []

        def backward(total: Tensor) -> None:
            """Hands over the gradient of one micro-batch."""
            self._differentiate(total)
            counts = self._passage.having[self.ranks.rank]
            losses.append(total.detach().double().cpu() if counts else None)

        gradient = self._part_sums("gradient", point, None, backward)
        total = torch.stack(self._in_order(losses)).sum()
        return total / self.count, gradient.div_(self.count)

    def _in_order(self, found: list[T | None]) -> list[T]:
        """What the steps of all ranks gave, in the order of the micro-batches; None where a rank had no data."""
        every = self.ranks.gather(found, "a sum over the data")
        return [part for step in zip(*every, strict=True) for part in step if part is not None]

    def product(self, vector: Tensor, theta: Tensor | None = None) -> Tensor:
        """The part of the Hessian at theta times a vector that this rank holds, `(length,)` both."""

        def backward(total: Tensor) -> None:
            """Hands over the product of one micro-batch."""
            passage = self._passage
            (slope, *gradients) = self._differentiate(total, create_graph=True)
            directions = passage.directions(self.function.loose) if passage.leaves else []
            parts = [slope] if slope is not None else []
            parts += [(g * v).sum() for g, v in zip(gradients, directions, strict=True) if g is not None]
            needed = [part for part in parts if part.requires_grad]
            passage.begin("curvature")
            if needed:
                self._differentiate(torch.stack(needed).sum())

        point = self.theta if theta is None else theta
        return self._part_sums("slope", point, vector, backward).div_(self.count)

    def _differentiate(self, total: Tensor, *, create_graph: bool = False) -> list[Tensor | None]:
        """The derivatives of a number in the anchor and in the weights that no unit has, which are handed over."""
        passage = self._passage
        inputs = [passage.anchor, *passage.leaves]
        if not total.requires_grad:
            return [None] * len(inputs)
        passage.differentiating = True
        try:
            found: list[Tensor | None] = list(
                torch.autograd.grad(total, inputs, create_graph=create_graph, allow_unused=True)
            )
        finally:
            passage.differentiating = False
        if passage.leaves and passage.stage != "slope":
            pairs = zip(found[1:], passage.leaves, strict=True)
            parts = [torch.zeros_like(leaf) if part is None else part for part, leaf in pairs]
            passage.add(self.function.loose, "forward", parts)
        return found

    def _part_sums(
        self, stage: Stage, theta: Tensor, vector: Tensor | None, backward: Callable[[Tensor], None]
    ) -> Tensor:
        """The part that this rank holds of what backward passes hand over, summed over all micro-batches."""
        found = PartSums(self.shards, [*self.function.units, self.function.loose], theta)
        passage = self._passage
        with self._pass(found.take, vector):
            for step in self._steps(stage):
                with torch.enable_grad():
                    total = self.batch_total(theta, step.batch)
                    require_no_leaks(total)
                    reraise_user_errors(step.batch, lambda total=total: backward(total))  # type: ignore[misc]
                del total
                passage.leaves = []
                if step.ends_group:
                    found.end_group()
        return found.total()

    @contextmanager
    def _pass(self, take: Callable[[Key, Tensor], None] | None = None, vector: Tensor | None = None) -> Iterator[None]:
        """The block of one pass over the data, in which all ranks make the same calls."""
        passage = self._passage
        passage.take, passage.vector = take, vector
        try:
            with self.precision(), self.ranks.lockstep():
                yield
        finally:
            passage.take, passage.vector, passage.leaves = None, None, []
            passage.having = (True,) * self.ranks.size
            passage.begin("forward")

    def _steps(self, stage: Stage, batches: Iterable[Batch] | None = None) -> Iterator[PassStep]:
        """The steps of a pass, their micro-batches on the device."""
        for step in steps(self.micro_batches() if batches is None else batches, self.shards):
            self._passage.having = step.having
            self._passage.begin(stage)
            yield step._replace(batch=to_device(step.batch, self.device, self.dtype))

    def batch_gradient(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Raises UsageError: gradients are those of all data."""
        del theta, batch
        raise UsageError("this needs gradients of single batches, which --shard on does not give", fix=UNSHARDED)
