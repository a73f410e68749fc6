"""A step's memory beside the original's."""

from argparse import Namespace

from benchmarks.sedd import kept_by

SIZES = Namespace(hidden=64, blocks=2, length=64, batch=2, codes=683)  # as wide as the default's


def test_a_step_keeps_at_most_65_percent_of_what_the_originals_keep():
    """Measured at the benchmark's sizes: 54.2 MiB of 84.4, 0.64."""
    ours = kept_by("ours", SIZES)
    assert ours <= 0.65 * kept_by("the original", SIZES)
    assert ours <= 0.65 * kept_by("MDLM", SIZES)
