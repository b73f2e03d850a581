"""Batches are copied to a GPU while it computes on the batch before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from landscape.data.batches import Batch, batch_tensors, to_device


def prefetch(batches: Iterable[Batch], device: torch.device, dtype: torch.dtype) -> Iterator[Batch]:
    """The batches on the device, floating tensors in `dtype`.

    On CUDA the copy of a batch, from pinned memory and on a stream of its own, starts before the batch before it is
    yielded. Batches on the device or in pinned memory are not copied ahead: a loader may fill one buffer again and
    again.
    """
    if device.type != "cuda":
        for batch in batches:
            yield to_device(batch, device, dtype)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    following: tuple[Batch, Callable[[], None]] | None = None
    for batch in batches:
        coming = _start_transfer(batch, device, dtype, stream) if _pageable(batch) else None
        if following is not None:
            yield _finish_transfer(following)
        following = coming
        if coming is None:
            yield to_device(batch, device, dtype)
    if following is not None:
        yield _finish_transfer(following)


def _start_transfer(
    batch: Batch, device: torch.device, dtype: torch.dtype, stream: torch.cuda.Stream
) -> tuple[Batch, Callable[[], None]]:
    """A batch whose copy has started, and the function that waits for the copy."""
    with torch.cuda.stream(stream):
        there = to_device(batch.map(lambda tensor: tensor.pin_memory().to(device, non_blocking=True)), device, dtype)

    def wait() -> None:
        """Makes the current stream wait for the copy."""
        current = torch.cuda.current_stream(device)
        current.wait_stream(stream)
        for tensor in batch_tensors(there):
            tensor.record_stream(current)  # the allocator must not reuse it before that stream is done

    return there, wait


def _pageable(batch: Batch) -> bool:
    """Whether all tensors are in the host's pageable memory, which pinning copies; sparse ones are not copied ahead."""
    tensors = list(batch_tensors(batch))
    dense = all(tensor.layout == torch.strided and not tensor.is_nested for tensor in tensors)
    return dense and all(tensor.device.type == "cpu" and not tensor.is_pinned() for tensor in tensors)


def _finish_transfer(sent: tuple[Batch, Callable[[], None]]) -> Batch:
    """The batch, once its copy is complete."""
    batch, wait = sent
    wait()
    return batch
