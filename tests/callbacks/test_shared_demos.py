"""Two processes make the demos of one, to the bit, and none waits for one that fails."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import Dataset

from callbacks.demo import Demo
from datamodules.data_order import resumable_loader
from foundation.batch import example, num_examples
from tests.datamodules.test_token_store import Triple
from tests.foundation.test_training_graph import dance, level_3, sedd
from tests.processes import CONTEXT, meeting_place, print_to

MODELS = {"sedd": partial(sedd, codec=Triple), "level 3": level_3, "dance": dance}
NUM_DEMOS = 3


class Examples(Dataset):
    def __init__(self, batch: dict):
        self.batch = batch

    def __len__(self) -> int:
        return num_examples(self.batch)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        one = example(self.batch, key[1])
        texts = {name: texts[0] for name, texts in one.pop("cond", {}).items()}
        return {name: value[0] for name, value in one.items()} | ({"cond": texts} if texts else {})


def validate(name: str, root: Path, processes: int) -> None:
    """Write the demos of a model whose weights are random."""
    torch.manual_seed(0)
    model, batch = MODELS[name.removesuffix(" fails")]()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    model.sampler = replace(model.sampler, steps=2)
    if name.endswith("fails"):
        model.demo = partial(fail_in_clip_1, model.demo)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        default_root_dir=root / name,
        use_distributed_sampler=False,
        callbacks=[Demo(num_demos=NUM_DEMOS, seconds=0.2)],
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    with patch("callbacks.demo.write_spectrogram"):  # most of the time, and not compared
        loader = resumable_loader(Examples(batch), trainer, 2, shuffle=False)
        trainer.validate(model, loader, verbose=False)


def fail_in_clip_1(demo, *args: object, generator: torch.Generator, **options: object):
    if generator.initial_seed() == 1:
        raise ValueError(f"no clip 1 in process {os.environ.get('LOCAL_RANK')}")
    return demo(*args, generator=generator, **options)


def rank(number: int, place: dict[str, str], root: Path) -> None:
    os.environ |= {"LOCAL_RANK": str(number)} | place
    print_to(root / f"rank_{number}.log")
    torch.set_num_threads(1)
    for name in [*MODELS, "dance fails"]:
        validate(name, root, 2)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """Where two processes wrote the demos of all models."""
    root = tmp_path_factory.mktemp("together")
    with meeting_place() as place:
        ranks = [CONTEXT.Process(target=rank, args=(n, place, root)) for n in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(300)
            process.kill()
        assert [process.exitcode for process in ranks] == [0, 0], (root / "rank_0.log").read_text()
    return root


def wavs(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.wav")}


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_make_the_demos_of_one(name, together, tmp_path):
    validate(name, tmp_path, 1)
    one, two = wavs(tmp_path / name), wavs(together / name)
    assert one == two
    samples = {one[f"sample_{number}.wav"] for number in range(NUM_DEMOS)}
    assert len(samples) == NUM_DEMOS


def test_a_clip_that_fails_is_told_by_the_first_process_and_waited_for_by_none(together):
    assert not wavs(together / "dance fails")
    said = "demo at step 0 failed: ValueError: no clip 1 in process 1"
    assert [(together / f"rank_{n}.log").read_text().count(said) for n in range(2)] == [1, 0]
