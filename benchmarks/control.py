"""Does a conditional model do what it is asked? Asked against measured, one table a model.

    python -m benchmarks.control MODEL … --train MUSIC --held_out MUSIC --sidecar tracks.csv
        --labels group drums --tempo_column bpm --key_column key

For every value that can be asked for, alone, and guidance 1, 2 and 4, clips are made and judged;
at guidance 0 nothing is asked. Labels are judged by a classifier of musicnn's vectors, trained on
real clips of --train and on what the model's codec makes of them; tags by musicnn, as the half of a
question's clips that has more of one; tempo and key by the project's estimators. Beside them: the
real clips of --held_out, of tracks that the classifier never heard, and their round trip through
the model's codec, which is the most that a model can reach. Shares of clips with their 95 %
interval; real clips of a track aren't independent, so that theirs is too narrow. Chance is how many
agree when each clip is compared with what every clip was asked for; the greatest of all guidances.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from audio import files as audio
from audio.resample import resample_sinc
from benchmarks.control_questions import Key, Label, Question, Tag, Tempo, agreement
from benchmarks.heard import Classifier, Heard, hear, joined
from datamodules.metadata import Sidecar
from foundation.audio_module import AudioModel
from foundation.codec import Codec
from foundation.conditions import Conditions
from foundation.control import Control
from foundation.sampler import Sampler
from jbdiff.module import JBDiff
from metrics.describe import TAGS, Describer
from metrics.musicality import RATE
from music_diffusion.checkpoints.load import load_model
from music_diffusion.commands.sample import with_steps
from music_diffusion.report.clips import Clips, cut

GUIDANCES = (1.0, 2.0, 4.0)
SEED = 100  # of the first clip; demos and samples of a user have small ones
Answers = dict[str, tuple[Heard, list[str]]]  # by column, the clips and what each was asked for


@dataclass(frozen=True)
class RealMusic:
    """Clips of tracks and what the sidecar says of each."""

    clips: Clips
    rows: list[dict[str, str]]

    @classmethod
    def read(cls, folder: str, sidecar: Sidecar, seconds: float, most: int) -> "RealMusic":
        """Cut clips of a folder, evenly spread over its tracks."""
        clips = cut(audio.find(folder), seconds, most)
        names = [path.relative_to(folder).as_posix() for path in clips.paths]
        return cls(clips, [sidecar.cond(name) for name in names])

    def hear(self, describer: Describer) -> Heard:
        return hear(describer, self.clips.audio[:, None], RATE)

    def hear_round_trip(self, describer: Describer, model: AudioModel) -> Heard:
        return joined(
            [
                hear(describer, round_trip(model, part[:, None]), model.sample_rate)
                for part in self.clips.audio.split(8)
            ]
        )


def round_trip(model: AudioModel, clips: Tensor) -> Tensor:
    """Encode and decode clips [B, 1, T] at RATE as a model's codec does, [B, C, T'] at its rate."""
    codec = cast("Codec", model.codec)
    wide = resample_sinc(clips, RATE, codec.sample_rate)
    if isinstance(model, JBDiff):
        return codec.from_latents(codec.to_latents(wide))[..., : wide.shape[-1]]
    return codec.decode(codec.encode(wide))[..., : wide.shape[-1]]


def questions_of(
    conditions: Conditions, classifiers: dict[str, Classifier], options: argparse.Namespace
) -> list[Question]:
    """List what a model can be asked, of what there is a judge for."""
    found: list[Question] = [
        Label(name, values, classifiers[name])
        for name, values in conditions.fields.items()
        if name in classifiers
    ]
    tags = [tag for tag in options.tags if tag in conditions.tags and tag in TAGS]
    if tags:
        found.append(Tag("tags", [f"{tag}={amount}" for tag in tags for amount in (1, 0)]))
    if conditions.tempo and options.tempi:
        found.append(Tempo("tempo", [f"{tempo:g}" for tempo in options.tempi]))
    if conditions.key and options.keys:
        found.append(Key("key", options.keys))
    return found


def generated(
    model: AudioModel, control: Control | None, count: int, seed: int, options: argparse.Namespace
) -> Tensor:
    """Generate clips [count, C, T] with the model's own sampler, of the steps that are set."""
    sampler = cast("Sampler", getattr(model, "sampler"))  # noqa: B009 (each family has its own)
    sampler = with_steps(sampler, options.steps) if options.steps else sampler
    return model.generate(options.seconds, count=count, cond=control, sampler=sampler, seed=seed)


def heard_of_model(
    model: AudioModel, question: Question, describer: Describer, options: argparse.Namespace
) -> Answers:
    """Generate and judge a question's clips at each guidance."""
    answers: Answers = {}
    each = -(-options.num_clips // len(question.values))
    for guidance in options.guidances:
        made = [
            generated(model, question.control(value, guidance), each, SEED + place * each, options)
            for place, value in enumerate(question.values)
        ]
        asked = [value for value in question.values for _ in range(each)]
        clips, column = torch.cat(made), f"guidance {guidance:g}"
        if options.out:
            write(clips, asked, model, Path(options.out) / f"{question.name} {column}")
        answers[column] = hear(describer, clips, model.sample_rate), asked
    return answers


def unasked(question: Question, heard: Heard) -> tuple[Heard, list[str]]:
    """Compare clips of which nothing was asked with each value in turn: guidance 0."""
    count = len(heard.tempo)
    return heard, [question.values[number % len(question.values)] for number in range(count)]


def write(clips: Tensor, asked: Sequence[str], model: AudioModel, folder: Path) -> None:
    for number, (clip, value) in enumerate(zip(clips, asked, strict=True)):
        audio.write(folder / f"{value}_{number}.wav", clip, model.sample_rate)


def heard_of_real(
    question: Question, rows: Sequence[dict[str, str]], real: Heard, trip: Heard, column: str
) -> Answers:
    """Say what the real clips would have been asked for, as far as the sidecar says it."""
    if isinstance(question, Tag):
        numbers, asked = question.more_or_less(real)
        return {"round trip": (trip.some(numbers), asked)}
    known = {number: row[column] for number, row in enumerate(rows) if row.get(column)}
    asked = list(known.values())
    return {
        name: (one.some([*known]), asked) for name, one in (("real", real), ("round trip", trip))
    }


def print_table(answers: dict[Question, Answers]) -> None:
    """Print for each question, and each of its values, how many clips agree."""
    columns = list(dict.fromkeys(["real", *(name for one in answers.values() for name in one)]))
    print(f"\n| asked for | chance | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 2)}")
    for question, found in answers.items():
        for name, reading, value in rows_of(question):
            counts = {column: agreement(reading, *one, value) for column, one in found.items()}
            made = [one.chance for column, one in counts.items() if column.startswith("guidance")]
            cells = [str(counts.get(column, "")) for column in columns]
            print(f"| {name} | {max(made, default=0):.2f} | {' | '.join(cells)} |", flush=True)


def rows_of(question: Question) -> list[tuple[str, Question, str | None]]:
    """List the rows of a question: all values, a looser reading of them, each value."""
    rows: list[tuple[str, Question, str | None]] = [(f"**{question.name}**", question, None)]
    looser = question.looser()
    rows += [(f"**{looser.name}**", looser, None)] if looser else []
    return rows + [(f"{question.name}: {value}", question, value) for value in question.values]


def judge(
    model: AudioModel,
    trained: RealMusic,
    held_out: RealMusic,
    describer: Describer,
    options: argparse.Namespace,
) -> None:
    """Print one model's table."""
    real, trip = held_out.hear(describer), held_out.hear_round_trip(describer, model)
    taught = joined([trained.hear(describer), trained.hear_round_trip(describer, model)])
    classifiers = {}
    for name in options.labels:
        labels = [row.get(name, "") for row in trained.rows] * 2
        known = [number for number, label in enumerate(labels) if label]
        classifiers[name] = Classifier(taught.vectors[known], [labels[i] for i in known])
    columns = {"tempo": options.tempo_column, "key": options.key_column}
    free = generated(model, None, options.num_clips, SEED, options)
    free = hear(describer, free, model.sample_rate)
    answers = {
        question: heard_of_real(
            question, held_out.rows, real, trip, columns.get(question.name, question.name)
        )
        | {"guidance 0": unasked(question, free)}
        | heard_of_model(model, question, describer, options)
        for question in questions_of(model.conditions, classifiers, options)
    }
    print_table(answers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="checkpoints or exports with conditions")
    parser.add_argument("--train", required=True, help="real music for the classifiers")
    parser.add_argument("--held_out", required=True, help="real music of other tracks")
    parser.add_argument("--sidecar", help="names the labels of both folders' tracks")
    parser.add_argument("--labels", nargs="*", default=["folder"], help="fields of labels")
    parser.add_argument("--tempo_column", default="tempo", help="of the sidecar, for real clips")
    parser.add_argument("--key_column", default="key", help="of the sidecar, for real clips")
    parser.add_argument("--tags", nargs="*", default=["piano", "guitar", "strings", "drums"])
    parser.add_argument("--tempi", nargs="*", type=float, default=[70.0, 95.0, 130.0])
    keys = ["C major", "E major", "G# major", "A minor", "C# minor", "F minor"]
    parser.add_argument("--keys", nargs="*", default=keys)
    parser.add_argument("--guidances", nargs="*", type=float, default=GUIDANCES)
    parser.add_argument("--num_clips", type=int, default=24, help="for a question and guidance")
    parser.add_argument("--real_clips", type=int, default=160, help="of each folder at most")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--steps", type=int, help="of the models' own samplers")
    parser.add_argument("--out", help="a folder for the clips")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    describer, sidecar = Describer(), Sidecar.read(options.sidecar)
    trained, held_out = (
        RealMusic.read(folder, sidecar, options.seconds, options.real_clips)
        for folder in (options.train, options.held_out)
    )
    for path in options.models:
        model = load_model(path)
        print(f"\n{path}: {type(model).__name__}, {model.conditions.describe()}")
        judge(model, trained, held_out, describer, options)
        print(f"\n{time.process_time():.0f} CPU seconds so far")


if __name__ == "__main__":
    main()
