"""The checks for a GPU: they run on a CPU at tiny sizes, in order, and go on where they stopped."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_checks import CHECKS, Setting
from foundation.files import read_json

SMALL = Setting(torch.device("cpu"), small=True)
QUICK = ("machine", "SEDD's step", "bf16 of SEDD", "samplers")


def test_checks_go_on_where_they_stopped_and_failed_ones_are_tried_again(tmp_path):
    ran: list[str] = []

    def check(name: str, fails: bool = False):
        def run(setting: Setting) -> dict:
            ran.append(name)
            if fails:
                raise RuntimeError("no kernel")
            return {"rate": 1.0}

        return run

    options = ["--out", str(tmp_path), "--small"]
    results = gpu.main(options, {"first": check("first"), "second": check("second", fails=True)})
    assert results["second"]["error"] == "RuntimeError: no kernel"
    gpu.main(options, {"first": check("first"), "second": check("second"), "third": check("third")})
    assert ran == ["first", "second", "second", "third"]
    stored = read_json(tmp_path / "gpu.json")
    assert list(stored) == ["first", "second", "third"] and stored["second"]["rate"] == 1


def test_no_check_starts_after_the_minutes(tmp_path, capsys):
    assert gpu.main(["--out", str(tmp_path), "--minutes", "0"], {"one": pytest.fail}) == {}
    assert "one: no time is left" in capsys.readouterr().out


@pytest.mark.parametrize("name", QUICK)
def test_a_check_runs_on_a_cpu_at_tiny_sizes(name):
    assert "failed" not in str(CHECKS[name](SMALL))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKS if name not in (*QUICK, "gpu tests")])
def test_a_slower_check_runs_too(name):
    assert CHECKS[name](SMALL)
