"""Mistakes of a user, and what isn't one."""

import errno

import pytest

from foundation.errors import UserError, unreadable


def test_a_parsers_error_is_a_line_with_its_reason_and_advice():
    with pytest.raises(UserError, match="a.npy is damaged: bad header; encode again"):
        with unreadable("a.npy is damaged", "encode again"):
            raise RuntimeError("bad header. more")


@pytest.mark.parametrize("error", [PermissionError(13, "no", "a"), OSError(errno.EMFILE, "many")])
def test_what_the_system_says_passes_as_it_is(error):
    with pytest.raises(type(error)), unreadable("a.npy is damaged"):
        raise error
