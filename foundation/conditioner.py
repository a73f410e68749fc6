"""Labels, tags, tempo and key as an addition to a network's modulation (adaptive norms)."""

import math

import torch
from torch import Tensor, nn

from foundation.batch import Cond
from foundation.conditions import KEY, TAGS, TEMPO, Conditions
from foundation.errors import UserError
from foundation.musical_key import KEYS

DROP = 0.1  # how often training leaves out all of an example's conditions, which guidance needs
GAIN = 16.0  # of what is added to the modulation
TEMPO_STEPS = 14  # places on the scale of tempi, each of them a number
SLOWEST, FASTEST = 40.0, 220.0  # beats a minute, of the first and the last place


class Conditioner(nn.Module):
    """Embed the conditions of examples: the sum of a vector for each that is known.

    The vectors start from zeros, so that a trained network to which they are added starts as it
    was. The sum is multiplied by GAIN: a trained network's modulation is some 60 long, which Adam's
    small steps from zero would take thousands of to reach. No layer stands between: in a sum that
    goes through one, a single label is lost among what forty tags that aren't known add to it.

    In training all conditions of an example are left out with probability DROP (Ho & Salimans 2022,
    arXiv:2207.12598). Of the others, half keep all kinds (each field of labels, the tags, the
    tempo, the key) and half as many as a draw says; the same again among the tags, which would
    otherwise hide every kind that is asked for alone.
    """

    group_of: Tensor
    kind_of: Tensor
    tops: Tensor

    def __init__(self, conditions: Conditions, size: int):
        super().__init__()
        self.conditions = conditions
        self.rows = {label: row for row, label in enumerate(conditions.labels)}
        self.groups = [*conditions.fields, *conditions.tags]
        self.groups += [TEMPO] * conditions.tempo + [KEY] * conditions.key
        widths = {TEMPO: TEMPO_STEPS, KEY: len(KEYS)}
        numbered = self.groups[len(conditions.fields) :]
        self.numbers = [f"{name} {i}" for name in numbered for i in range(widths.get(name, 1))]
        group_of = [self.groups.index(name.rpartition(" ")[0]) for name in self.numbers]
        tops = torch.tensor(list(conditions.tags.values()))
        kinds = [TAGS if name in conditions.tags else name for name in self.groups]
        self.kinds = list(dict.fromkeys(kinds))
        kind_of = [self.kinds.index(kind) for kind in kinds]
        self.register_buffer("kind_of", torch.tensor(kind_of), persistent=False)
        self.register_buffer("group_of", torch.tensor(group_of, dtype=torch.long), persistent=False)
        self.register_buffer("tops", tops, persistent=False)

        def vectors(count: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(count, size))

        self.labels = vectors(len(conditions.labels))
        self.weights, self.present = vectors(len(self.numbers)), vectors(len(self.groups))

    def forward(self, cond: Cond | None, count: int) -> Tensor:
        """Return what is added to the modulation of `count` examples: [B, size]."""
        rows, numbers, known = self.read(cond or {}, count)
        if self.training:
            known = known & self.draw_kept(count)
        kept = known.to(self.labels.dtype)
        h = kept @ self.present
        if rows.shape[1]:
            h = h + (kept[:, : rows.shape[1], None] * self.labels[rows]).sum(1)
        if len(self.numbers):
            h = h + (kept[:, self.group_of] * numbers.to(kept)) @ self.weights
        return GAIN * h

    def draw_kept(self, count: int) -> Tensor:
        """Draw which conditions [B, G] training keeps, from torch's own stream."""
        kept = self._draw_some(count, len(self.kinds))[:, self.kind_of]
        first = len(self.conditions.fields)
        tags = slice(first, first + len(self.conditions.tags))
        kept[:, tags] &= self._draw_some(count, len(self.conditions.tags))
        return kept & (torch.rand(count, 1, device=kept.device) >= DROP)

    def _draw_some(self, count: int, among: int) -> Tensor:
        """Draw for each of `count` examples all of so many, or a share of any size: [B, N]."""
        draws = torch.rand(count, 1 + among, device=self.labels.device)
        return draws[:, 1:] < (2 * draws[:, :1]).clamp(max=1)

    def read(self, cond: Cond, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Turn metadata into label rows [B, F], numbers [B, N], and what is known [B, G]."""
        rows = self._rows(cond, count)
        numbers = [rows.new_zeros(count, 0, dtype=torch.float32)]
        known = [rows >= 0]
        if self.conditions.tags:
            tags = self._values(cond, TAGS, (count, len(self.tops)))
            numbers.append((tags / self.tops.float()).clamp(0, 2))
            known.append(tags.isfinite())
        if self.conditions.tempo:
            tempo = self._values(cond, TEMPO, (count,))
            numbers.append(on_scale(tempo))
            known.append(tempo.isfinite()[:, None])
        if self.conditions.key:
            numbers.append(self._values(cond, KEY, (count, len(KEYS))))
            known.append(numbers[-1].isfinite().all(1, keepdim=True))
        return rows.clamp(min=0), torch.cat(numbers, 1).nan_to_num(), torch.cat(known, 1)

    def _rows(self, cond: Cond, count: int) -> Tensor:
        """Look up the labels' rows [B, F]; -1 for those that training didn't see."""
        columns = [
            [self.rows.get(f"{name}={text}", -1) for text in cond.get(name, [""] * count)]
            for name in self.conditions.fields
        ]
        device = self.labels.device
        return torch.tensor(columns, dtype=torch.long, device=device).view(len(columns), count).T

    def _values(self, cond: Cond, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the numbers of a condition in float32; NaN where there are none."""
        values = cond.get(name)
        if not isinstance(values, Tensor):
            return torch.full(shape, math.nan, device=self.labels.device)
        if values.shape != shape:
            raise UserError(f"cond {name} must have shape {list(shape)}, got {list(values.shape)}")
        return values.to(self.labels.device, torch.float32)

    def start_from(self, other: "Conditioner") -> None:
        """Take over, by name, what another one has learned of the same conditions."""
        pairs = [
            (self.labels, other.labels, list(self.rows), list(other.rows)),
            (self.weights, other.weights, self.numbers, other.numbers),
            (self.present, other.present, self.groups, other.groups),
        ]
        with torch.no_grad():
            for ours, theirs, names, known in pairs:
                for place, name in enumerate(names):
                    if name in known:
                        ours[place] = theirs[known.index(name)]


def on_scale(tempo: Tensor) -> Tensor:
    """Place tempi [B] on a scale of octaves: a bump around each, [B, TEMPO_STEPS]."""
    octaves = torch.log2(tempo / SLOWEST) / math.log2(FASTEST / SLOWEST)
    steps = torch.arange(TEMPO_STEPS, device=tempo.device)
    return torch.exp(-0.5 * (octaves[:, None] * (TEMPO_STEPS - 1) - steps).square())


class ConditionalNet(nn.Module):
    """A network that may be told conditions: it adds `told_by` to what its norms are set by.

    Attributes:
        modulation_size: channels of that; None for a network that can't be told any
        conditioner: what embeds the conditions; None until `condition_on`
    """

    modulation_size: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.conditioner: Conditioner | None = None

    def condition_on(self, conditions: Conditions) -> None:
        """Make the network one that is told these conditions; what it has learned stays.

        Raises:
            UserError: for a network that can't be
        """
        if self.modulation_size is None:
            raise UserError(
                f"{type(self).__name__} can't be told {conditions.describe()}: leave out labels "
                "and tags, or give it a modulation_size (docs/extending.md)"
            )
        before, weight = self.conditioner, next(self.parameters())
        made = Conditioner(conditions, self.modulation_size).to(weight)
        if before is not None:
            made.start_from(before)
        self.conditioner = made

    def told_by(self, cond: Cond | None, count: int) -> Tensor | None:
        """Embed metadata as [B, modulation_size]; None where no conditions were set."""
        return None if self.conditioner is None else self.conditioner(cond, count)
