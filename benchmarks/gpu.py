"""Check and time what needs a GPU: python -m benchmarks.gpu --minutes 8 --out DIR.

The checks run in the order of their value until the minutes are over, and each writes what it found
to DIR/gpu.json at once. The same command goes on with those that are missing; what failed is tried
again. With --small, on networks for a laptop, everything also runs on a CPU.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.gpu_checks import CHECKS, Setting
from foundation.files import read_json, write_json

Check = Callable[[Setting], dict]


def main(args: list[str] | None = None, checks: Mapping[str, Check] = CHECKS) -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="no check starts after them")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="the folder of gpu.json")
    parser.add_argument("--only", nargs="*", help="names of checks")
    parser.add_argument("--small", action="store_true", help="tiny networks, for a CPU")
    given = parser.parse_args(args)
    found = torch.accelerator.current_accelerator(check_available=True)
    device = torch.device("cpu") if found is None else found
    setting = Setting(device, given.small or device.type == "cpu")
    wanted = {n: check for n, check in checks.items() if not given.only or n in given.only}
    return run(wanted, setting, given.out / "gpu.json", time.monotonic() + 60 * given.minutes)


def run(checks: Mapping[str, Check], setting: Setting, path: Path, end: float) -> dict:
    """Run the checks that have no result in the file, write each result, and return all."""
    results = read_json(path) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, check in checks.items():
        if "error" not in results.get(name, {"error": "missing"}):
            continue
        if time.monotonic() >= end:
            print(f"{name}: no time is left; the same command goes on here", flush=True)
            continue
        start = time.monotonic()
        try:
            result: dict[str, object] = check(setting)
        except Exception as error:  # the others are worth their time all the same
            result = {"error": f"{type(error).__name__}: {error}"[:2000]}
        result["seconds"] = round(time.monotonic() - start, 2)
        results[name] = result
        write_json(path, results)
        print(f"{name}: {json.dumps(result)}", flush=True)
    return results


if __name__ == "__main__":
    main()
