"""Compare two folders of music: python examples/score.py REFERENCE GENERATED [EMBEDDING]."""

import sys

import music_diffusion as md

reference, generated, embedding = (*sys.argv[1:], "logmel")[:3]
score = md.fad(reference, generated, embedding=embedding)
print(f"the Frechet distance is {score.score:.3f}")
