import math

import pytest

from foundation.checks import check_at_least, check_choice, check_fraction, check_positive
from foundation.errors import UserError


def test_settings_in_range_pass():
    check_at_least(1, steps=1, windows=None)
    check_positive(seconds=0.1, rate=None)
    check_fraction(strength=0, share=1, rate=None)
    check_choice("short", "pad", ("pad", "skip"))


@pytest.mark.parametrize(
    "check, message",
    [
        (lambda: check_at_least(1, steps=1, count=0), "count must be at least 1, got 0"),
        (lambda: check_positive(seconds=0), "seconds must be above 0, got 0"),
        (lambda: check_positive(seconds=math.nan), "seconds must be above 0, got nan"),
        (lambda: check_at_least(1, steps=math.nan), "steps must be at least 1, got nan"),
        (lambda: check_fraction(strength=1.5), "strength must be between 0 and 1, got 1.5"),
        (lambda: check_choice("short", "x", ("pad", "skip")), "must be pad or skip, got 'x'"),
    ],
)
def test_others_are_named_with_their_value(check, message):
    with pytest.raises(UserError, match=message):
        check()
