"""NumPy's files of numbers, believed only as far as their size allows; nothing runs code."""

import io
import math
import zipfile
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy

Order = Literal["C", "F"]
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(path: Path, in_place: bool = False) -> np.ndarray:
    """Read a .npy file of numbers; `in_place` maps it into memory.

    Raises:
        ValueError: for what is none, and where the shape doesn't fit the file's length
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if not in_place:
            return read_array(file, size)
        shape, order, dtype = read_header(file, size)
        offset = file.tell()
    if offset == size:  # which can't be mapped
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, order)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an uncompressed .npz file.

    Raises:
        ValueError, zipfile.BadZipFile: for what is none
    """
    with zipfile.ZipFile(path) as archive:
        check_stored(archive, path.stat().st_size)
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    return {
        name.removesuffix(".npy"): read_array(io.BytesIO(data), len(data))
        for name, data in members.items()
    }


def check_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError for an archive that could expand: it is compressed, or lists bytes twice."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it is compressed, which this program never writes: save it again")
    if sum(member.file_size for member in members) > size:
        raise ValueError("it lists more bytes than it has")


def read_array(file: BinaryIO, size: int) -> np.ndarray:
    """Read an array from the start of `size` bytes."""
    shape, order, dtype = read_header(file, size)
    data = np.frombuffer(file.read(), dtype)
    return data.reshape(shape, order=order).copy()


def read_header(file: BinaryIO, size: int) -> tuple[tuple[int, ...], Order, np.dtype]:
    """Read shape, order ("C" or "F") and type of an array of numbers that fills `size` bytes."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it is of version {version} of numpy's format")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}, not numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"its length isn't that of {list(shape)} numbers of {dtype}")
    return shape, "F" if fortran else "C", dtype
