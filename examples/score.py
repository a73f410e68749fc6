"""Compare two folders of music: python examples/score.py REFERENCE GENERATED [EMBEDDING]."""

import sys

import music_diffusion as md

sys.excepthook = md.excepthook  # a wrong path is told in a line
if len(sys.argv) < 3:
    sys.exit(__doc__)
reference, generated, embedding = (*sys.argv[1:], "logmel")[:3]
score = md.fad(reference, generated, embedding=embedding)
print(f"the Frechet distance is {score.score:.3f}")
