"""Check this code against a folder of golden numbers: `python -m tests.goldens DIR`."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator

from tests.goldens.format import Golden

Check = Callable[[Golden], Iterator[tuple[str, str, float]]]


def _checker(module: str, function: str) -> Check:
    """Import a family's checker when it is first used."""

    def check(golden: Golden) -> Iterator[tuple[str, str, float]]:
        yield from getattr(importlib.import_module(f"tests.goldens.{module}"), function)(golden)

    return check


CHECKERS: dict[str, Check] = {
    "jukebox_vqvae": _checker("vqvae", "check"),
    "sedd_ddit": _checker("sedd", "check_ddit"),
    "sedd_graph": _checker("sedd", "check_graph"),
}
