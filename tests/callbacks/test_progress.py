from lightning.pytorch.callbacks import TQDMProgressBar

from callbacks.checkpoint import StepCheckpoint
from callbacks.progress import ResumedBar
from tests.callbacks.toy import STEPS_PER_EPOCH, At, fit


def test_the_bar_of_a_resumed_epoch_has_its_end_and_its_own_speed(tmp_path):
    shown = []

    def look():
        bar = callbacks[0].train_progress_bar
        shown.append((bar.initial, bar.n, bar.total))

    for number, max_steps in enumerate((1, 3)):
        callbacks = [TQDMProgressBar(), ResumedBar(), StepCheckpoint(), At(look, max_steps)]
        options = {"enable_progress_bar": True, "ckpt_path": "last" if number else None}
        fit(tmp_path, callbacks, max_steps, **options)
    assert shown == [(0, 1, 1), (1, 3, 3)]
    callbacks = [TQDMProgressBar(), ResumedBar(), StepCheckpoint(), At(look, 9)]
    fit(tmp_path, callbacks, 10, enable_progress_bar=True, ckpt_path="last")
    assert shown[2] == (0, 1, min(2, STEPS_PER_EPOCH))  # the third epoch has two steps left
