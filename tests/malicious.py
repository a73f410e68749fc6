"""A file that must not be loaded."""

import os
from pathlib import Path


class Malicious:
    """A pickle of this runs code as it is loaded."""

    def __init__(self, ran: Path):
        self.ran = ran

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.ran),)
