"""Windows of tracks: drawn at random for training, always the same for validation."""

import logging
import random
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.tracks import Track, Tracks
from foundation.errors import RemoteError, UserError
from foundation.files import printable

log = logging.getLogger(__name__)
ATTEMPTS = 8  # windows tried in place of one that can't be read
Example = dict[str, Tensor | dict[str, str | Tensor]]


class Windows(ABC):
    """Tracks divided into windows, which are numbered over all tracks.

    `length` and `align`, in samples or in tokens as the tracks are, say how long a window is and of
    what its start is a multiple.
    """

    def __init__(self, tracks: Tracks, length: int, align: int = 1):
        self.tracks, self.length, self.align = tracks, length, align
        self.ends = np.maximum(-(-tracks.lengths // length), 1).cumsum()
        self.reported: set[str] = set()

    def __len__(self) -> int:
        return int(self.ends[-1])

    @abstractmethod
    def cut(self, track: Track, start: int, draw: random.Random | None = None) -> dict[str, Tensor]:
        """Read the window at `start`; `draw` is for augmentation, which None leaves out."""

    def cond(self, track: Track, start: int) -> dict[str, str | Tensor]:
        """Return what is known of the window at `start`: the track's metadata."""
        return dict(track.cond)

    def locate(self, number: int) -> tuple[Track, int]:
        """Return the track of a window, and the window's number within the track."""
        index = bisect_right(self.ends, number)
        return self.tracks[index], number - (int(self.ends[index - 1]) if index else 0)

    def starts(self, track: Track) -> range:
        """List where a window may start: at multiples of `align`, so that it fits if it can."""
        first = -(-track.start // self.align) * self.align
        if first >= track.stop:
            first -= self.align
        return range(first, max(first, track.stop - self.length) + 1, self.align)

    def first_readable(
        self, places: Iterable[tuple[Track, int]], draw: random.Random | None = None
    ) -> Example:
        """Read the first window (track, start) that can be read; log each broken file once."""
        last = None
        for track, start in places:
            try:
                return {**self.cut(track, start, draw), "cond": self.cond(track, start)}
            except RemoteError:
                raise  # the data order must not depend on a network
            except (UserError, OSError) as error:
                if track.name not in self.reported:
                    log.warning("another window is used: %s", printable(str(error)))
                self.reported.add(track.name)
                last = track.path
        raise UserError(f"{ATTEMPTS} windows in a row can't be read, the last one of {last}")


class RandomWindows(Dataset):
    """Windows drawn from seed, epoch and index alone, so that any worker reads the same ones.

    Each is within the part of its track that its index names; with `count`, anywhere.
    """

    def __init__(self, windows: Windows, count: int | None, seed: int):
        self.windows, self.count, self.seed = windows, count, seed

    def __len__(self) -> int:
        return self.count or len(self.windows)

    def __getitem__(self, key: tuple[int, int]) -> Example:
        """Read the window of an (epoch, index)."""
        draw = random.Random("crop {} {} {}".format(self.seed, *key))
        augment_draw = random.Random(draw.random())
        return self.windows.first_readable(self._places(key[1], draw), augment_draw)

    def _places(self, index: int, draw: random.Random) -> Iterator[tuple[Track, int]]:
        for attempt in range(ATTEMPTS):
            anywhere = self.count is not None or attempt > 0
            number = draw.randrange(len(self.windows)) if anywhere else index
            track, _ = self.windows.locate(number)
            yield track, draw.choice(self.windows.starts(track))


class FixedWindows(Dataset):
    """Adjacent windows, or `count` of them evenly spread, always the same."""

    def __init__(self, windows: Windows, count: int | None):
        self.windows = windows
        self.count = min(count or len(windows), len(windows))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> Example:
        """Read the window of an (epoch, index)."""
        # the middle of each of `count` equal parts, because tracks begin in silence
        number = (2 * key[1] + 1) * len(self.windows) // (2 * self.count)
        return self.windows.first_readable(self._places(number))

    def _places(self, number: int) -> Iterator[tuple[Track, int]]:
        for attempt in range(ATTEMPTS):
            track, within = self.windows.locate((number + attempt) % len(self.windows))
            starts = self.windows.starts(track)
            index = within * self.windows.length // starts.step
            yield track, starts[min(index, len(starts) - 1)]
