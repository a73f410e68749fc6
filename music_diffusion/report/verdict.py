"""What the figures of a report say, in words."""

NOISE = {"tonal_peak": 0.17, "beat_clarity": 0.15}  # noise in music's colour has 0.14 and 0.10


def verdict(content: dict) -> list[str]:
    """Say whether it is music, how far from real music, and whether it is copied."""
    said = [distance_verdict(content["distances"])]
    made = content["traits"]["generated"]
    below = [key in made and made[key]["generated"] < least for key, least in NOISE.items()]
    if all(below):
        said.insert(0, "noise rather than music: few tones stand out, and no beat does")
    if "memorisation" in content:
        said.append(copies_verdict(content["memorisation"], content["generated"]["clips"]))
    return said


def distance_verdict(distances: dict) -> str:
    """Compare the kernel distance with that of held-out music, within their intervals."""
    made, real = (next(iter(distances.values()))[side] for side in ("generated", "held_out"))
    low = made["kad"] - (made["kad_margin"] or 0)
    if low <= real["kad"] + (real["kad_margin"] or 0):
        return "the kernel distance doesn't tell the clips from held-out real music"
    return (
        "the kernel distance tells the clips from real music: they are farther than held-out music"
    )


def copies_verdict(found: dict, clips: int) -> str:
    """Count the clips that are nearer to the training music than nearly all real ones."""
    near = max(round(found[key]["rate"] * clips) for key in ("notes", "sound"))
    if near:
        return (
            f"{near} of {clips} clips are nearer to the training music than 99 % of real ones "
            "(by chance 1 in 100 is): listen to them on the page"
        )
    return (
        f"no sign of copies: none of {clips} clips is nearer to the training music than real ones"
    )
