"""Files of formats that soundfile doesn't write, made with PyAV."""

from pathlib import Path

import av
import numpy as np


def encode(
    path: Path,
    codec: str,
    samples: np.ndarray,
    rate: int,
    layout: str = "stereo",
    quality: int | None = None,
    **container,
) -> Path:
    """Write samples [C, T] with a codec of FFmpeg; `container` is av.open's options.

    With a quality, 0 is the best, the bit rate is variable.
    """
    with av.open(path, "w", **container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 128_000
        if codec == "aac":  # no noise that the decoder would draw anew
            stream.codec_context.options = {"aac_pns": "0"}
        if quality is not None:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 118 * quality  # FF_QP2LAMBDA
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        convert = av.AudioResampler(stream.codec_context.format.name, layout, rate, size)
        frames = []
        for start in range(0, samples.shape[1], 4096):
            part = np.ascontiguousarray(samples[:, start : start + 4096], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            frames += convert.resample(frame)
        for frame in [*frames, *convert.resample(None), None]:
            file.mux(stream.encode(frame))
    return path


def noise(seconds: float, rate: int, channels: int = 2) -> np.ndarray:
    """Draw noise [C, T] that is louder and softer by turns, so that a shift is seen."""
    random = np.random.default_rng(0)
    length = round(seconds * rate)
    swell = 0.1 + 0.1 * np.sin(np.arange(length) / 3000)
    return (swell * random.standard_normal((channels, length))).astype(np.float32)
