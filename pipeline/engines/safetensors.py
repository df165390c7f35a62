"""The sizes of the tensors in a folder of safetensors files, without their contents.

A file begins with the length of its header, in eight bytes, and the header, which is JSON:
https://huggingface.co/docs/safetensors/index#format
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import orjson

Shape: TypeAlias = tuple[int, ...]

LARGEST_HEADER = 100 * 2**20
"""Bytes; what the format allows."""

_FLOATS = ("BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2")
"""Types whose tensors have one number a weight; others hold packed ones."""


def shapes_in(folder: Path) -> dict[str, Shape]:
    """The sizes of all tensors of floating-point numbers, by name; empty for another path."""
    return {
        name: shape for file in sorted(folder.glob("*.safetensors")) for name, shape in _of(file)
    }


def _of(file: Path) -> Iterator[tuple[str, Shape]]:
    with suppress(OSError, ValueError, struct.error), open(file, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = orjson.loads(stream.read(min(length, LARGEST_HEADER)))
        for name, entry in header.items():
            if entry.get("dtype") in _FLOATS:
                yield name, tuple(entry["shape"])
