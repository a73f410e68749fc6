"""Turn the weights inside the package `musicnn` into safetensors, without TensorFlow.

A TensorFlow checkpoint is two files: raw numbers, and an index that says where each variable lies.
The index is a LevelDB table: blocks of sorted keys, where a key holds only what differs from
the one before it, and values that are protocol buffers.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foundation.errors import UserError, unreadable
from foundation.weights import write_state

FOLDER = "musicnn/MTT_musicnn"  # the model trained on MagnaTagATune
INDEX, DATA = ".index", ".data-00000-of-00001"
LARGEST = 64 * 2**20  # bytes; the package's weights have 3 MB
FLOAT32 = 1  # TensorFlow's number for the type
FOOTER = 48  # bytes at the end of a table
MAGIC = 0xDB4775248B80FB57


def convert(wheel: str | Path, out: str | Path) -> None:
    """Convert the package's file (musicnn-0.1.0-py3-none-any.whl) to safetensors."""
    with unreadable(f"{wheel} is not the package musicnn 0.1.0"):
        with zipfile.ZipFile(wheel) as archive:
            index, data = (read_member(archive, f"{FOLDER}/{name}") for name in (INDEX, DATA))
        state = rename(variables(index, data))
    write_state(state, Path(out))


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a file of an archive; ValueError for one far larger than the package's."""
    size = archive.getinfo(name).file_size
    if size > LARGEST:
        raise ValueError(f"{name} has {size} bytes")
    return archive.read(name)


def rename(values: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Name TensorFlow's variables, numbered in the order they were made, as `Network` does."""
    convolutions = [f"timbral.{i}.conv" for i in range(2)] + [
        f"temporal.{i}.conv" for i in range(3)
    ]
    convolutions += [f"middle.{i}.conv" for i in range(3)]
    norms = ["norm", *(name.replace("conv", "norm") for name in convolutions)]
    norms += ["pooled_norm", "dense_norm"]
    kinds = {
        "conv2d": (convolutions, {"kernel": "weight", "bias": "bias"}),
        "dense": (["dense", "tags"], {"kernel": "weight", "bias": "bias"}),
        "batch_normalization": (
            norms,
            {
                "gamma": "weight",
                "beta": "bias",
                "moving_mean": "running_mean",
                "moving_variance": "running_var",
            },
        ),
    }
    state = {}
    for kind, (names, parts) in kinds.items():
        for number, name in enumerate(names):
            layer = f"{kind}_{number}" if number else kind
            for theirs, ours in parts.items():
                key = f"{layer}/{theirs}"
                if key not in values:
                    raise UserError(f"the checkpoint of musicnn lacks {key}")
                state[f"{name}.{ours}"] = channels_first(torch.from_numpy(values[key].copy()))
    return state


def channels_first(kernel: Tensor) -> Tensor:
    """Permute kernels [H, W, in, out] to [out, in, H, W], matrices [in, out] to [out, in]."""
    if kernel.dim() == 4:
        return kernel.permute(3, 2, 0, 1).contiguous()
    return kernel.T.contiguous() if kernel.dim() == 2 else kernel


def variables(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Read all float variables of a checkpoint.

    Raises:
        ValueError, IndexError, KeyError, struct.error: for a damaged one
    """
    if len(index) < FOOTER or struct.unpack("<Q", index[-8:])[0] != MAGIC:
        raise UserError("not the index of a TensorFlow checkpoint")
    footer = index[-FOOTER:]
    _, place = varint(footer, 0)  # of the block of filters, unused
    _, place = varint(footer, place)
    values = {}
    for _, handle in entries(index, footer[place:]):
        for key, record in entries(index, handle):
            fields = numbers(record)
            if key and fields.get(1) == FLOAT32:
                sizes = [size for shape in messages(record, 2) for size in messages(shape, 2)]
                shape = [numbers(size).get(1, 0) for size in sizes]
                start, length = fields.get(4, 0), fields[5]
                raw = np.frombuffer(data[start : start + length], "<f4")
                if not np.isfinite(raw).all():
                    raise UserError(f"the checkpoint's {key.decode()} isn't finite")
                values[key.decode()] = raw.reshape(shape)
    return values


def entries(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the (key, value) of the block a handle (offset, size) points at."""
    offset, place = varint(handle, 0)
    size, _ = varint(handle, place)
    if table[offset + size]:
        raise UserError("the index of the checkpoint is compressed, which isn't read here")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    place, key = 0, b""
    while place < len(block) - 4 - 4 * restarts:
        shared, place = varint(block, place)
        added, place = varint(block, place)
        length, place = varint(block, place)
        key = key[:shared] + block[place : place + added]
        place += added
        yield key, block[place : place + length]
        place += length


def fields_of(buffer: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Iterate over the (number, value) of a protocol buffer."""
    place = 0
    while place < len(buffer):
        tag, place = varint(buffer, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = varint(buffer, place)
        else:
            if kind == 2:
                length, place = varint(buffer, place)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise UserError(f"a protocol buffer has a field of kind {kind}")
            value = buffer[place : place + length]
            place += length
        yield number, value


def numbers(buffer: bytes) -> dict[int, int]:
    """Read the fields of a protocol buffer that are numbers."""
    return {field: value for field, value in fields_of(buffer) if isinstance(value, int)}


def messages(buffer: bytes, number: int) -> list[bytes]:
    """Read all messages in one field of a protocol buffer."""
    fields = fields_of(buffer)
    return [value for field, value in fields if field == number and isinstance(value, bytes)]


def varint(buffer: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; return it and the place after it."""
    value = shift = 0
    while shift < 64:
        byte = buffer[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
    raise ValueError("a number has more than 64 bits")
