"""The model card of an export: README.md with the YAML head that the Hugging Face hub reads."""

from collections.abc import Mapping

import yaml
from torch import Tensor

from foundation.conditions import CONDITIONS, read_conditions

CARD = "README.md"


def model_card(config: Mapping, state: Mapping[str, Tensor], bits: int) -> str:
    """Write the card of exported weights from their settings and provenance."""
    made = config.get("provenance", {})
    data = made.get("data") or {}
    settings = config["hyper_parameters"]
    name = settings.get("_class_path", "a model").rsplit(".", 1)[-1]
    head = {
        "library_name": "music-diffusion",
        "pipeline_tag": "audio-to-audio",
        "tags": ["music", "audio", "diffusion", "pytorch-lightning", name.lower()],
    }
    if licence := config.get("licence") or data.get("licence"):
        head["license"] = licence
    weights = sum(value.numel() for value in state.values())
    facts = {
        "class": settings.get("_class_path"),
        "weights": f"{weights:,} in {bits} bits",
        "training steps": config.get("global_step"),
        "codec": config.get("codec_fingerprint"),
        "music": described(data),
        "can be asked for": asked_for(config.get(CONDITIONS)),
        "seed": made.get("seed"),
        "made with": f"music-diffusion {made['version']}, commit {made['commit']}" if made else "",
        "command": f"`{made['command']}`" if made else "",
    }
    lines = [f"| {key} | {value} |" for key, value in facts.items() if value not in (None, "")]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(head, sort_keys=False).strip(),
            "---",
            f"# {name}",
            "",
            "A music generator trained with music-diffusion.",
            "",
            "| | |",
            "| --- | --- |",
            *lines,
            "",
            "Generate music with it:",
            "",
            "    music-diffusion sample THIS_FOLDER --count 4",
            "",
            "    import music_diffusion as md",
            '    audio = md.load("THIS_FOLDER").generate(seconds=10, seed=1)',
            "",
        ]
    )


def asked_for(conditions: Mapping | None) -> str:
    """Name the labels, tags, tempo and key that a model was trained with."""
    return read_conditions(conditions, "the model").describe() if conditions else ""


def described(data: Mapping) -> str:
    """Describe the training data in a line."""
    parts = []
    if data.get("tracks"):
        parts.append(f"{data['tracks']} tracks")
    if data.get("hours"):
        parts.append(f"{data['hours']:.2f} hours")
    if data.get("sha256"):
        parts.append(f"list of tracks {str(data['sha256'])[:16]}")
    return ", ".join(parts)
