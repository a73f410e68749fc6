"""A TensorFlow checkpoint's index and data, written as TensorFlow lays them out."""

import struct

import numpy as np

from metrics.musicnn_convert import FLOAT32, MAGIC


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def tensorflow_index(values: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """Write a checkpoint's index and data, as TensorFlow lays them out."""
    data, block, last = b"", b"", b""
    for name in sorted(values):
        raw = values[name].astype("<f4").tobytes()
        shape = b"".join(
            b"\x12" + varint(len(size)) + size
            for size in (b"\x08" + varint(n) for n in values[name].shape)
        )
        record = b"\x08" + varint(FLOAT32) + b"\x12" + varint(len(shape)) + shape
        record += b"\x20" + varint(len(data)) + b"\x28" + varint(len(raw)) + b"\x35" + b"\0" * 4
        key = name.encode()
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), 0)
        block += varint(shared) + varint(len(key) - shared) + varint(len(record))
        block += key[shared:] + record
        data, last = data + raw, key
    ending = struct.pack("<II", 0, 1)
    first = block + ending
    handle = varint(0) + varint(len(first))
    top = varint(0) + varint(1) + varint(len(handle)) + b"z" + handle + ending
    place = len(first) + 5
    footer = varint(0) + varint(0) + varint(place) + varint(len(top))
    table = first + b"\0" * 5 + top + b"\0" * 5
    return table + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC), data
