"""Train with two learning rates and compare: python examples/sweep.py MUSIC [OPTION=VALUE ...]."""

import sys

import yaml

import music_diffusion as md

music, *rest = sys.argv[1:]
options = {name: yaml.safe_load(value) for name, value in (part.split("=", 1) for part in rest)}
for rate in (3e-4, 1e-3):
    model = md.fit(
        ["sedd_absorb", "tiny"],
        name=f"rate_{rate}",
        options={"data.audio": music, "model.learning_rate": rate, "trainer.max_steps": 500}
        | options,
    )
    loss = float(model.trainer.callback_metrics["val/loss"])
    print(f"learning rate {rate}: {loss:.3f} nats per token, in runs/rate_{rate}")
