"""Cross-entropy of many classes by chunks of tokens: sum, gradient, Hessian and outer products in the logits.

Of a token with logits z, probabilities p = softmax(z) and the weight q of each class in its label, the loss is
-sum_c q_c log p_c, the gradient |q| p - q and the Hessian |q| (diag p - p p'), where |q| is the sum of q. Torch's own
cross-entropy holds several tensors of the size of the logits at once, its second derivative about ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import Function

from landscape.compute.memory import count_saved_tensor
from landscape.losses.protocol import IGNORE_INDEX

LARGE_LOGITS = 1 << 20  # logits of a batch from which on the memory of copies counts; fewer go torch's own way
CHUNKS = 64  # at most so many until they are of full size: each holds a few copies of its logits at once
CHUNK_LOGITS = 1 << 20  # of a chunk of full size: enough that launching operations costs little
SMALL_CHUNK_LOGITS = 1 << 16  # of the smallest chunk: small nets take one
Place = tuple[int | slice, ...]


@dataclass(frozen=True)
class SoftmaxTargets:
    """The weight q of each class for every token: of labels `(...)`, or of class probabilities `(..., C)`.

    `weight` `(C,)`, `ignore_index` and `smoothing` are those of `torch.nn.CrossEntropyLoss`.
    """

    target: Tensor
    weight: Tensor | None = None
    ignore_index: int = IGNORE_INDEX
    smoothing: float = 0.0

    @property
    def of_one_class(self) -> bool:
        """Whether each token has weight on the class of its label alone."""
        return not self.target.is_floating_point() and not self.smoothing

    def sums(self, place: Place, like: Tensor) -> Tensor:
        """The sum |q| of each token at a place, `(..., 1)`; `like` `(..., C)` has the tokens' shape and dtype."""
        return self._label(place, like)[1] if self.of_one_class else self._rows(place, like).sum(-1, keepdim=True)

    def dot(self, place: Place, values: Tensor) -> Tensor:
        """The products q'v of the tokens at a place with values `(..., C)`, `(..., 1)`; 0 times infinity is 0."""
        if self.of_one_class:
            labels, weights = self._label(place, values)
            return torch.where(weights == 0, 0, values.gather(-1, labels) * weights)
        rows = self._rows(place, values)
        return torch.where(rows == 0, 0, rows * values).sum(-1, keepdim=True)

    def add_(self, place: Place, values: Tensor, scale: Tensor) -> Tensor:
        """Adds q of the tokens at a place, times a scale that fits `(..., 1)`, to values `(..., C)`."""
        if self.of_one_class:
            labels, weights = self._label(place, values)
            return values.scatter_add_(-1, labels, weights * scale)
        return values.add_(self._rows(place, values) * scale)

    def _label(self, place: Place, like: Tensor) -> tuple[Tensor, Tensor]:
        """The label of each token at a place, 0 where it is ignored, and its weight, `(..., 1)` each."""
        target = self.target[place][..., None]
        counted = target != self.ignore_index
        labels = torch.where(counted, target, 0)
        weights = counted.to(like.dtype)
        return labels, weights if self.weight is None else weights * self.weight[labels]

    def _rows(self, place: Place, like: Tensor) -> Tensor:
        """The weights of all classes for the tokens at a place, in the shape `(..., C)` of `like`."""
        target, even = self.target[place], self.smoothing / like.shape[-1]
        if target.is_floating_point():
            rows = target.to(like.dtype) * (1 - self.smoothing) + even
            return rows if self.weight is None else rows * self.weight
        labels, weights = self._label(place, like)
        counted = (target != self.ignore_index).to(like.dtype)[..., None]
        rows = (counted if self.weight is None else counted * self.weight) * even
        return rows.expand(like.shape).scatter_add(-1, labels, weights * (1 - self.smoothing))


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """The summed cross-entropy of logits `(..., C)`, with what follows from it in closed form."""

    logits: Tensor
    targets: SoftmaxTargets

    def total(self) -> Tensor:
        """The summed loss `()`, differentiable as often as needed."""
        total: Tensor = _Total.apply(self.logits, self.targets)  # type: ignore[no-untyped-call]
        return total

    def detach(self) -> SoftmaxCrossEntropy:
        """The same without a graph."""
        return replace(self, logits=self.logits.detach())

    def multiply_hessian_(self, vectors: Tensor) -> Tensor:
        """The Hessian in the logits times K vectors `(K, ..., C)`, in their place."""
        for place in chunks(self.logits):
            probabilities = self.logits[place].softmax(-1)
            weights = self.targets.sums(place, probabilities)
            for vector in vectors:
                piece = vector[place]
                piece.sub_((probabilities * piece).sum(-1, keepdim=True)).mul_(probabilities).mul_(weights)
        return vectors

    def multiply_outer_(self, vectors: Tensor, draws: Sequence[SoftmaxTargets]) -> Tensor:
        """The mean over draws of g g' of each token, g its gradient, times K vectors `(K, ..., C)`, in their place."""
        for place in chunks(self.logits):
            probabilities = self.logits[place].softmax(-1)
            sums = [targets.sums(place, probabilities) for targets in draws]
            for vector in vectors:
                piece = vector[place]
                scales = [overlap / len(draws) for overlap in _overlaps(place, probabilities, piece, draws)]
                torch.mul(probabilities, sum(each * scale for each, scale in zip(sums, scales, strict=True)), out=piece)
                for targets, scale in zip(draws, scales, strict=True):
                    targets.add_(place, piece, -scale)
        return vectors

    def overlaps(self, vector: Tensor, draws: Sequence[SoftmaxTargets]) -> Tensor:
        """g'v of each draw and token for a vector `(..., C)`, `(draws, tokens)`."""
        parts = []
        for place in chunks(self.logits):
            overlaps = _overlaps(place, self.logits[place].softmax(-1), vector[place], draws)
            parts.append(torch.stack([overlap.flatten() for overlap in overlaps]))
        return torch.cat(parts, dim=1)


def _overlaps(place: Place, probabilities: Tensor, piece: Tensor, draws: Sequence[SoftmaxTargets]) -> list[Tensor]:
    """g'v of the tokens at a place for each draw, `(..., 1)`, g the gradient |q| p - q."""
    mean = (probabilities * piece).sum(-1, keepdim=True)
    return [targets.sums(place, piece) * mean - targets.dot(place, piece) for targets in draws]


@runtime_checkable
class SoftmaxLoss(Protocol):
    """A loss that may be a cross-entropy of logits with known weights of the classes."""

    def as_softmax(self, output: Tensor, target: Any) -> SoftmaxCrossEntropy | None:
        """The cross-entropy that the loss is for these logits and targets; None if it is none."""


def large_softmax(loss: object, output: Any, target: Any) -> SoftmaxCrossEntropy | None:
    """The closed form of a loss whose logits are so many that copies of them count; None for any other.

    Transforms of `torch.func` go torch's own way.
    """
    if not isinstance(output, Tensor) or output.numel() < LARGE_LOGITS or not isinstance(loss, SoftmaxLoss):
        return None
    if type(output) is not Tensor or torch._C._are_functorch_transforms_active():
        return None
    return loss.as_softmax(output, target)


def softmax_of(logits: Tensor, axis: int, targets: SoftmaxTargets) -> SoftmaxCrossEntropy | None:
    """The cross-entropy of logits with the classes along an axis; None for shapes that do not fit, or integers."""
    moved, target = logits.movedim(axis, -1), targets.target
    if target.is_floating_point():
        target = target.movedim(axis, -1) if target.ndim == logits.ndim else target
        fits = target.shape == moved.shape
    else:
        target, fits = target.long(), target.shape == moved.shape[:-1]
    if not fits or not logits.is_floating_point() or moved.shape[-1] < 2:
        return None
    weight = None if targets.weight is None else targets.weight.to(logits)
    return SoftmaxCrossEntropy(moved, replace(targets, target=target, weight=weight))


def with_last_token(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """All logits of which the given ones are those without the last token, and labels that leave that token out.

    The loss is the same, and its derivative needs no copy into the larger tensor. If the logits are no such part of a
    tensor, they come back as they are.
    """
    whole = logits._base
    same = whole is not None and (whole.ndim, whole.stride()) == (logits.ndim, logits.stride())
    if whole is None or not same or whole.storage_offset() != logits.storage_offset():
        return logits, labels
    if whole.shape != (logits.shape[0], logits.shape[1] + 1, *logits.shape[2:]):
        return logits, labels
    if whole.requires_grad != logits.requires_grad or labels.shape != logits.shape[:2] or labels.is_floating_point():
        return logits, labels
    return whole, torch.cat([labels, torch.full_like(labels[:, :1], ignore_index)], dim=1)


def chunks(logits: Tensor) -> Iterator[Place]:
    """Places that cut the tokens of logits `(..., C)` into chunks."""
    size = min(CHUNK_LOGITS, max(logits.numel() // CHUNKS, SMALL_CHUNK_LOGITS))
    yield from _places(tuple(logits.shape[:-1]), max(1, size // max(logits.shape[-1], 1)))


def _places(shape: tuple[int, ...], rows: int) -> Iterator[Place]:
    if not shape:
        yield ()
        return
    each = prod(shape[1:])
    if each > rows:
        for first in range(shape[0]):
            for rest in _places(shape[1:], rows):
                yield (first, *rest)
        return
    step = max(1, rows // max(each, 1))
    for first in range(0, shape[0], step):
        yield (slice(first, first + step),)


class _Total(Function):
    """The sum of cross-entropies. Once its gradient has a graph, which holds the gradient, the logits are let go."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: SoftmaxTargets) -> Tensor:
        """The summed loss `()`."""
        ctx.logits, ctx.targets, ctx.known = logits, targets, None
        count_saved_tensor(logits)
        terms = []
        for place in chunks(logits):
            terms.append(targets.dot(place, logits[place].log_softmax(-1)).flatten())
        return torch.cat(terms).sum().neg_() if terms else logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        """The gradient in the logits, for a loss times `scale`; a later call takes it from the first graph."""
        if ctx.known is not None:
            gradient, earlier = ctx.known
            return gradient * (scale / earlier), None
        gradient = _Gradient.apply(ctx.logits, scale, ctx.targets)  # type: ignore[no-untyped-call]
        if torch.is_grad_enabled():
            ctx.known, ctx.logits = (gradient, scale), None
        return gradient, None


class _Gradient(Function):
    """The gradient in the logits of the summed loss times a scale, G = s (|q| p - q)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, scale: Tensor, targets: SoftmaxTargets) -> Tensor:
        """The gradient, in the shape of the logits."""
        gradient = torch.empty_like(logits)
        for place in chunks(logits):
            piece = logits[place]
            scaled = piece.softmax(-1).mul_(targets.sums(place, piece) * scale)
            gradient[place] = targets.add_(place, scaled, -scale)
        ctx.save_for_backward(gradient, scale)
        ctx.targets = targets
        return gradient

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """The Hessian in the logits times a vector, and the vector's product with the gradient without its scale."""
        gradient, scale = ctx.saved_tensors
        image, products = torch.empty_like(vector), []
        # a graph of this graph (a third derivative) takes everything at once
        places = [()] if torch.is_grad_enabled() else chunks(gradient)
        for place in places:
            piece, rows = vector[place], gradient[place]
            weights = ctx.targets.sums(place, rows) * scale
            scaled = ctx.targets.add_(place, rows.clone(), scale)  # s |q| p
            inner = (scaled * piece).sum(-1, keepdim=True)
            mean = torch.where(weights == 0, 0, inner / torch.where(weights == 0, 1, weights))
            image[place] = scaled * (piece - mean)
            if ctx.needs_input_grad[1]:
                products.append((rows * piece).sum() / scale)
        return image, torch.stack(products).sum() if products else None, None
