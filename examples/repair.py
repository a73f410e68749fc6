"""Regenerate a part of a file: python examples/repair.py CHECKPOINT FILE START END [OUT.wav]."""

import sys

import torch

import music_diffusion as md
from audio import files

sys.excepthook = md.excepthook  # a wrong path is told in a line
if len(sys.argv) < 5:
    sys.exit(__doc__)
checkpoint, file, start, end, out = (*sys.argv[1:], "repaired.wav")[:5]
model = md.load(checkpoint)
prompt = files.read(file, sample_rate=model.sample_rate)  # [C, T]
seconds = torch.arange(prompt.shape[-1]) / model.sample_rate
keep = (seconds < float(start)) | (seconds >= float(end))  # [T]
repaired = model.generate(prompt=prompt, keep=keep, seed=1)[0]
files.write(out, repaired.cpu(), model.sample_rate)
print(f"{start} s to {end} s of {file} are new in {out}")
