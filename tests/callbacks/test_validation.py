"""Without a validation there is no best checkpoint and no demo, which is said once."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from callbacks.checkpoint import BestCheckpoint, StepCheckpoint
from callbacks.demo import Demo
from tests.callbacks.toy import Toy, fit


def notes(caplog) -> list[str]:
    return [text for text in caplog.messages if "no validation" in text]


@pytest.mark.parametrize("how", ["limit", "no batches"])
def test_what_there_will_not_be_is_said_in_one_line(tmp_path, caplog, how):
    callbacks = [StepCheckpoint(), BestCheckpoint(), Demo()]
    if how == "limit":
        fit(tmp_path, callbacks, 3, limit_val_batches=0)
    else:  # as data modules have it with val_fraction 0
        trainer = Trainer(
            accelerator="cpu", callbacks=callbacks, default_root_dir=tmp_path, max_steps=3,
            logger=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Toy(), DataLoader(torch.zeros(4, 1)), [])
    (note,) = notes(caplog)
    assert note.endswith("there will be no demos, no best.ckpt")


def test_nothing_is_said_where_there_is_a_validation_or_nothing_that_needs_one(tmp_path, caplog):
    fit(tmp_path, [BestCheckpoint(), Demo(num_demos=1, seconds=0.1)], 4)
    fit(tmp_path, [StepCheckpoint()], 3, limit_val_batches=0)
    assert not notes(caplog)
