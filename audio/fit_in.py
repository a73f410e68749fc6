"""Put generated audio into audio that it repairs or continues: level, colour and seams.

What is kept stays the original's samples, bit by bit. Nothing is taken from the original in a gap,
where the damage may be.
"""

import logging

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from audio.bands import interpolation, mixed_centres, triangles

log = logging.getLogger(__name__)
AROUND = 2.0  # seconds of what is kept on each side of a gap that it is fitted to
FADE = 0.01  # seconds, in the gap, over which the original is left
FRAME = 2048
MOST_COLOUR, MOST_RAISED = 4.0, 2.0  # greatest changes of amplitude: 12 dB in a band, 6 dB in all
CEILING = 2.0  # 3 dB above the loudest moment of a band around a gap, in power
SILENT = 1e-4  # amplitude of what has no level to be fitted to


def fit_in(
    original: Tensor, made: Tensor, keep: Tensor, sample_rate: int, level: bool = True
) -> Tensor:
    """Return audio [B, C, T]: the original's where `keep` [T] is true, elsewhere the made one.

    `made` [B, D, T] is generated in the gaps and what the codec makes of the original around them.
    By that it gets the original's colour and, with `level`, what is in the gaps their loudness. The
    result has the channels of the original [C, T], or those of a mono one's `made`; a mono `made`
    in stereo is the same signal on both sides, coloured for each.
    """
    original, keep = original.detach().float(), keep.detach()
    channels = max(len(original), made.shape[1]) if len(original) == 1 else len(original)
    original = original.expand(channels, -1)
    if made.shape[1] != channels:
        log.info("the codec is mono: new sound has the balance of the sides, but no width")
        made = made.mean(1, keepdim=True).expand(-1, channels, -1)
    if bool(keep.all()) or not bool(keep.any()):
        return original.expand(len(made), -1, -1) if bool(keep.all()) else made
    near = keep & dilated(~keep, round(AROUND * sample_rate))
    made = coloured(made, original, near, sample_rate)
    if level:
        made = levelled(made, original, near, ~keep)
    return joined(original, made.clamp(-1, 1), keep, round(FADE * sample_rate))


def dilated(where: Tensor, by: int) -> Tensor:
    """Mark [T] what is within `by` samples of what `where` [T] marks."""
    coarse = max(1, by // 64)  # a pooling window of many thousands would take long
    blocks = pad(where.float()[None], (0, -len(where) % coarse)).unfold(-1, coarse, coarse).amax(-1)
    reach = by // coarse
    wide = max_pool1d(pad(blocks, (reach, reach)), 2 * reach + 1, stride=1)
    return wide.repeat_interleave(coarse, -1)[0, : len(where)] > 0


def coloured(made: Tensor, original: Tensor, near: Tensor, sample_rate: int) -> Tensor:
    """Filter made [B, C, T] so that where it is `near` [T] its bands are as loud as the original's.

    The filter is the same at all times; it undoes what the codec does to the colour of the music.
    Where a band of what is made is louder than it ever is around, it is turned down to that.
    """
    if len(near) < FRAME:
        return made
    window = torch.hann_window(FRAME, device=made.device)

    def spectrum(audio: Tensor) -> Tensor:
        return torch.stft(
            audio.flatten(0, -2), FRAME, FRAME // 4, window=window, return_complex=True
        ).unflatten(0, audio.shape[:-1])

    whole = pad(near.float()[None], (FRAME // 2, FRAME // 2))
    frames = whole.unfold(-1, FRAME, FRAME // 4).amin(-1)[0] > 0  # all of whose samples are near
    if int(frames.sum()) < 8:
        return made
    bins = FRAME // 2 + 1
    centres = mixed_centres(bins, sample_rate, per_octave=3, lowest=55.0)
    bands = triangles(centres, bins, sample_rate).to(made)
    spectra = spectrum(made)
    around = bands @ spectrum(original)[..., frames].abs().square()
    wanted = around.mean(-1, keepdim=True)
    there = (bands @ spectra[..., frames].abs().square()).mean(-1, keepdim=True)
    floor = 1e-6 * wanted.amax(-2, keepdim=True) + 1e-12
    gains = ((wanted + floor) / (there + floor)).sqrt()
    between = interpolation(centres, bins, sample_rate).to(made)
    spectra = spectra * (between @ gains.log()).exp().clamp(1 / MOST_COLOUR, MOST_COLOUR)
    spectra = limited(spectra, bands, between, CEILING * around.amax(-1, keepdim=True) + floor)
    filtered = torch.istft(
        spectra.flatten(0, 1), FRAME, FRAME // 4, window=window, length=len(near)
    )
    return filtered.view(made.shape)


def limited(spectra: Tensor, bands: Tensor, between: Tensor, most: Tensor) -> Tensor:
    """Turn bands of spectra [B, C, F, W] down where their power is above `most` [C, bands, 1]."""
    excess = (most / (bands @ spectra.abs().square()).maximum(most)).sqrt()
    return spectra * (between @ excess.log()).exp()


def levelled(made: Tensor, original: Tensor, near: Tensor, gap: Tensor) -> Tensor:
    """Scale made [B, C, T] so that in the gap [T] it is as loud as the original `near` [T] it.

    What is too quiet is raised by 6 dB at most.
    """
    wanted = original[:, near].square().mean().sqrt()
    there = made[..., gap].square().mean((1, 2), keepdim=True).sqrt()
    if not len(original[0, near]) or wanted < SILENT:
        return made
    return made * (wanted / there.clamp(min=SILENT)).clamp(max=MOST_RAISED)


def joined(original: Tensor, made: Tensor, keep: Tensor, fade: int) -> Tensor:
    """Take made [B, C, T] where `keep` [T] is false, with fades from the original at the seams."""
    out = torch.where(keep, original, made)
    for first, start, stop, last in gaps(keep):
        left = min(fade, start - first, (stop - start) // 2)
        right = min(fade, last - stop, (stop - start) // 2)
        out[..., start : start + left] = _seam(original, made, start, left, 1)
        out[..., stop - right : stop] = _seam(original, made, stop - 1, right, -1)
    return out


def gaps(keep: Tensor) -> list[tuple[int, int, int, int]]:
    """List gaps of `keep` [T]: start of the kept part before, start, stop, end of that after."""
    edges = pad(keep.int(), (1, 1), value=1).diff()
    starts, stops = ((edges == sign).nonzero()[:, 0].tolist() for sign in (-1, 1))
    ends = zip(starts, stops, [*starts[1:], len(keep)], strict=False)
    return [(before, *rest) for before, rest in zip([0, *stops], ends, strict=False)]


def bridged(original: Tensor, keep: Tensor) -> Tensor:
    """Fill the gaps of audio [C, T] with what is kept [T] around them, mirrored, for a codec.

    Tokens beside a gap depend on what is in it, which must be neither damage nor silence.
    """
    out = original.clone()
    for first, start, stop, last in gaps(keep):
        inside = torch.arange(stop - start, device=out.device)
        left = _mirrored(original, start - 1, start - first, -1, inside)
        right = _mirrored(original, stop, last - stop, 1, inside.flip(0))
        share = (inside + 0.5) / len(inside)
        share = share if left is not None and right is not None else share.new_tensor(0.5)
        left, right = (right if left is None else left), (left if right is None else right)
        if left is not None and right is not None:
            out[:, start:stop] = left.lerp(right, share.expand_as(left))
    return out


def _mirrored(audio: Tensor, edge: int, length: int, way: int, steps: Tensor) -> Tensor | None:
    """Return what lies so many steps [N] beyond an edge of `length` samples, back and forth."""
    if not length:
        return None
    steps = steps % (2 * length)
    return audio[:, edge + way * torch.minimum(steps, 2 * length - 1 - steps)]


def _seam(original: Tensor, made: Tensor, start: int, length: int, way: int) -> Tensor:
    """Fade [B, C, length] from the original, mirrored at the seam, to what is made.

    A codec that follows the waveform makes what the original would be but for an error, and only
    that is mirrored; of one that doesn't all is. Powers add up to that of either.
    """
    inside = torch.arange(length) * way + start
    outside = start - way * (1 + torch.arange(length))
    known, there, new = original[:, outside], made[..., outside], made[..., inside]
    products = (known * there).sum((1, 2)), known.square().sum() * there.square().sum((1, 2))
    alike = (products[0] / products[1].sqrt().clamp(min=1e-9)).clamp(0, 1)[:, None, None]
    weight = 1 - (torch.arange(length, device=made.device) + 0.5) / max(1, length)
    mixed = weight * (known + alike * (new - there)) + (1 - weight) * new
    power = weight**2 + (1 - weight) ** 2 + 2 * alike * weight * (1 - weight)
    faded = mixed / power.sqrt()
    return faded if way > 0 else faded.flip(-1)
