"""The metadata of safetensors files in one order, so that the same content has the same hash in every process."""

from __future__ import annotations

import json

LENGTH_BYTES = 8  # before the header
ALIGNMENT = 8  # bytes at a multiple of which the tensors begin


def sorted_metadata(content: bytes) -> list[bytes | memoryview]:
    """The pieces of a safetensors file whose metadata are sorted by name: its library writes them in any order.

    The tensors are not copied.
    """
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:end])
    metadata = header.pop("__metadata__", {})
    ordered = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return [len(text).to_bytes(LENGTH_BYTES, "little"), text, memoryview(content)[end:]]
