"""Durations as people say them."""

UNITS = (("years", 365.25 * 86400), ("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
TWICE = 2.0  # of a unit: below it the next smaller one is used


def spoken(seconds: float) -> str:
    """Say how long: 0.03 s, 12 s, 58 min, 3 days; two digits, for these are estimates."""
    unit, size = next((pair for pair in UNITS if seconds >= TWICE * pair[1]), UNITS[-1])
    value = seconds / size
    return f"{value:.2g} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def clock(seconds: float) -> str:
    """Write a position in a track: 3:07, 1:02:30."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
