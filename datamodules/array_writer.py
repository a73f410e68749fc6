"""An array of numpy's format, written piece by piece."""

from pathlib import Path

import numpy as np
from numpy.lib import format as npy


class ArrayWriter:
    """Write an array [K, L] to a .npy file from its first column on; `with` closes it.

    (Not through a memory map: there a full disk is a fatal signal and no error.)
    """

    def __init__(self, path: Path, rows: int, length: int, dtype: type[np.generic]):
        self.shape, self.dtype, self.done = (rows, length), np.dtype(dtype), 0
        self.file = path.open("wb")
        descr = {"descr": self.dtype.str, "fortran_order": False, "shape": self.shape}
        npy.write_array_header_1_0(self.file, descr)
        self.begin = self.file.tell()

    def write(self, values: np.ndarray) -> None:
        """Write the next columns [K, l]."""
        rows, length = self.shape
        assert len(values) == rows and self.done + values.shape[1] <= length
        for row, numbers in enumerate(values.astype(self.dtype)):
            self.file.seek(self.begin + (row * length + self.done) * self.dtype.itemsize)
            self.file.write(numbers.tobytes())
        self.done += values.shape[1]

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
