"""Generate audio with a checkpoint: python examples/sample.py CHECKPOINT [OUT.wav]."""

import sys

import music_diffusion as md
from audio import files

sys.excepthook = md.excepthook  # a wrong path is told in a line
if len(sys.argv) < 2:
    sys.exit(__doc__)
checkpoint, out = (*sys.argv[1:], "sample.wav")[:2]
model = md.load(checkpoint)
audio = model.generate(seconds=10, seed=1)  # [B, C, T]
files.write(out, audio[0].cpu(), model.sample_rate)
print(f"{audio.shape[-1] / model.sample_rate:.2f} s in {out}")
