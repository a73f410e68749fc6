"""Check this code against a folder of golden numbers: `python -m tests.goldens DIR`."""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.goldens import dance, jbdiff, metrics, sedd, song, vqvae, wavtokenizer
from tests.goldens.format import Golden, load

CHECKERS: dict[str, Callable[[Golden], Iterator[tuple[str, str, float]]]] = {
    "sedd_ddit": sedd.check_ddit,
    "sedd_graph": sedd.check_graph,
    "jukebox_vqvae": vqvae.check,
    "jbdiff_unet": jbdiff.check_unet,
    "dance_diffusion": dance.check,
    "jbdiff_sampler_utils": song.check,
    "wavtokenizer": wavtokenizer.check,
    "frechet": metrics.check_frechet,
    "vggish": metrics.check_vggish,
    "pann_cnn14_16k": metrics.check_pann,
    "pann_cnn14": metrics.check_pann,
}


def check(folder: Path, name: str) -> int:
    """Print a line for each check of a golden file; count what failed or was never compared."""
    failures = 0
    try:
        golden = load(folder, name)
        for case, output, error in CHECKERS[name](golden):
            passed = error <= 1  # false for nan
            failures += not passed
            print(f"{'ok  ' if passed else 'FAIL'} {name} {case} {output} {error:.3g}")
    except Exception:  # whatever breaks in one family, the others are still checked
        traceback.print_exc()
        print(f"FAIL {name}: the check stopped at an error")
        return failures + 1
    for case, output in golden.unchecked():
        print(f"FAIL {name} {case} {output} never compared")
        failures += 1
    return failures


def main(argv: list[str] | None = None) -> int:
    """Check every covered file of a folder: 0 if all agrees, 1 if not, 2 with nothing to check."""
    parser = argparse.ArgumentParser(prog="python -m tests.goldens", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of NAME.json and NAME.npz")
    folder = parser.parse_args(argv).folder
    found = sorted(path.stem for path in folder.glob("*.json"))
    covered = [name for name in CHECKERS if name in found]
    if not covered:
        print(f"{folder} holds none of {', '.join(CHECKERS)}: nothing to check", file=sys.stderr)
        return 2
    failures = sum([check(folder, name) for name in covered])
    others = [name for name in found if name not in CHECKERS]
    print(
        f"{len(covered)} golden files, {failures} failures; no checker: {', '.join(others) or '-'}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
