"""numpy's files are believed only as far as their size allows."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from foundation.arrays import read_npy, read_npz
from foundation.errors import UserError
from foundation.weights import read_content, read_state


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dtype", ["<f4", ">i2", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
def test_arrays_are_read_as_numpy_reads_them(shape, dtype, in_place, tmp_path):
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if array.ndim > 1 else array)
    made = read_npy(tmp_path / "a.npy", in_place)
    assert made.dtype == array.dtype and made.shape == shape and (made == array).all()


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        header("(1099511627776,)") + bytes(8),
        header("(1, 3)") + bytes(8),
        header("(-1, -2)") + bytes(8),
        header("(2,)", "|O") + bytes(16),
        header("(2,)")[:20],
        b"\x93NUMPY\x09\x00" + bytes(20),
        b"",
    ],
)
def test_what_does_not_fill_its_file_is_refused(content, in_place, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises((ValueError, EOFError)):
        read_npy(tmp_path / "a.npy", in_place)


def test_an_archive_that_would_expand_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", tail=np.zeros(10**6, np.float32))
    with pytest.raises(ValueError, match="compressed"):
        read_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", end=3, tail=np.ones(2))
    assert read_npz(tmp_path / "b.npz")["end"] == 3


def test_a_checkpoint_that_would_expand_is_refused(tmp_path):
    stored, packed = io.BytesIO(), tmp_path / "packed.pth"
    torch.save({"w": torch.zeros(10**5)}, stored)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert packed.stat().st_size < 10**4
    with pytest.raises(UserError, match="packed.pth can't be read .* it is compressed"):
        read_content(packed)
    torch.save({"w": torch.zeros(1).expand(2**40)}, tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"its w is \d+ numbers of 1"):
        read_state(tmp_path / "wide.pth")
    torch.save({"w": torch.empty(5, device="meta")}, tmp_path / "meta.pth")
    with pytest.raises(UserError, match="its w is no plain tensor"):
        read_state(tmp_path / "meta.pth")


@pytest.mark.parametrize(
    "content",
    [{1: torch.ones(1)}, {"state_dict": {2: torch.ones(1)}}, {"hyper_parameters": [1]}, {}],
    ids=str,
)
def test_contents_of_other_forms_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="x.ckpt"):
        read_state(tmp_path / "x.ckpt")
