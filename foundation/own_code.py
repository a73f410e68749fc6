"""What a user's own classes are, by their files: what is kept of them grows stale."""

import inspect
import sys
import uuid
from functools import cache
from hashlib import sha256
from pathlib import Path

from foundation.packages import PACKAGES

NOT_OWN = {*PACKAGES, *sys.stdlib_module_names, "torch"}
NAMELESS = uuid.uuid4().hex  # where there is no file, as in a notebook: for this process alone


def own_code(kind: type) -> str:
    """Name a class and its bases, with hashes of their files; empty for a class of this project.

    Installed packages are known by the class's name alone.
    """
    own = [base for base in kind.__mro__ if base.__module__.split(".")[0] not in NOT_OWN]
    return "".join(f" {base.__module__}.{base.__qualname__} {hash_of(base)}" for base in own)


@cache  # the file as it was when the class was first used, not as edited since
def hash_of(kind: type) -> str:
    """Hash the file of a class."""
    try:
        file = Path(inspect.getsourcefile(kind) or "")
        return "" if "site-packages" in file.parts else sha256(file.read_bytes()).hexdigest()
    except (OSError, TypeError):
        return NAMELESS
