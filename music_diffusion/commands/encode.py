"""encode: a folder of music to tokens or latents, ahead of training."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from audio.files import AudioError, Reader
from datamodules.encode import EncodeModule, EncodingJob, TrackReader
from datamodules.features import FeatureHeader, Features
from datamodules.loader_workers import WorkerLoader, leave_signals_to_main
from datamodules.metadata import Sidecar
from datamodules.share import Share
from foundation.checks import check_workers
from foundation.codec import Codec, check_codec
from foundation.files import printable
from jbdiff.levels import COARSEST, codec_of, main_stream
from metrics.describe import COLUMNS, STEP, Describer
from metrics.musicality import RATE
from music_diffusion.commands.logging import as_quiet_as_events
from music_diffusion.commands.options import call
from music_diffusion.commands.trainer import RunTrainer

log = logging.getLogger(__name__)


def run(args: list[str]) -> None:
    call("encode", encode, args)


def encode(
    audio: str,
    out: str | None = None,
    level: int = 2,
    codec: Codec | None = None,
    streams: list[str] | None = None,
    accelerator: str = "auto",
    devices: int | str = "auto",
    num_nodes: int = 1,
    num_workers: int = 1,
    sidecar: str | None = None,
    too_loud: Literal["skip", "clip", "scale"] = "skip",
    shard: str | None = None,
    tags: bool = False,
) -> Path:
    """Encode a folder of music to tokens and return the token store's folder.

    Run it again to resume, or after files have changed: what has tokens is skipped, and equal files
    are encoded once. The store is the same however often it was interrupted and shared.

    Args:
        audio: a folder, searched with all its folders, or one file
        out: the token store's folder; the default is the one that fit looks for
        level: where no codec is given, what this level of Jukebox Diffusion trains on: the tokens
            of Jukebox's codec at 2, 1 and 0, the latents of the spectral codec at 3
        codec: another codec, such as WavTokenizer, with --codec.path FILE
        streams: which of the codec's streams; tokens by default; latents for a codec that has them
        accelerator: Lightning's accelerator
        devices: how many devices share the work
        num_nodes: how many machines share the work
        num_workers: processes that read files, for each device
        sidecar: a .csv or .jsonl file with metadata of the tracks, named in its column `track`
        too_loud: what to do with a file of floats beyond 8, where full scale is 1: skip it, clip it
            to 1, or scale it, by the full scale of integers or by its peak
        shard: encode only the I-th of N parts of the files, as I/N, for jobs on several machines;
            the last one to end finishes the store
        tags: describe the music, too: musicnn's tags, tempo and key of every 3 s, for
            fit --data.tags true; needs the weights `musicnn` of the command download

    Raises:
        UserError: where there is no music, and for a store that another codec made
    """
    check_workers(num_workers)
    if codec is None:
        codec = codec_of(level)
        streams = streams or ([main_stream(codec)] if level == COARSEST else None)
    check_codec(codec)
    describer = Describer() if tags else None
    names = tuple(streams or codec.token_streams)
    codec.check_streams(names)
    known, part = Sidecar.read(sidecar), Share.parse(shard)
    with as_quiet_as_events():
        trainer = trainer_of(accelerator, devices, num_nodes)
        job = EncodingJob.create(audio, codec, names, out, known, too_loud, part)
        first = trainer.global_rank == 0  # it holds the lock for the others
        whole = job.share.count == 1
        with job.alone(".lock" if whole else f".lock-{job.share}") if first else nullcontext():
            run_job(job, trainer, codec, num_workers)
            with nullcontext() if whole or not first else job.alone():  # shards merge in turn
                store = job.finish() if first else None
        if store and describer:
            describe(job, describer)
    if store:
        log.info("%d tracks of %s in %s", len(store), " and ".join(names), store.folder)
    return job.folder


def trainer_of(accelerator: str, devices: int | str, num_nodes: int) -> RunTrainer:
    return RunTrainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        precision="32-true",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # each process has a share of the files
    )


def describe(job: EncodingJob, describer: Describer) -> None:
    """Describe the tracks that have tokens and no description yet."""
    made_by = f"musicnn {describer.musicnn.fingerprint}"
    features = Features.create(job.folder, FeatureHeader(COLUMNS, float(STEP), made_by))
    keys = {path: job.stored_key(key).hex() for path, key in job.keys.items()}
    left = {path: key for path, key in keys.items() if not features.has(key)}
    for path, key in tqdm(left.items(), "tags", disable=not left or None, unit="track"):
        if path in job.failed:
            continue
        try:
            with Reader(path, RATE, 1, job.too_loud) as reader:
                features.write(key, describer.track(reader.read_all, reader.num_samples))
        except AudioError as error:
            log.warning("not described: %s", printable(str(error)))


def run_job(job: EncodingJob, trainer: RunTrainer, codec: Codec, num_workers: int) -> None:
    """Encode what has no tokens yet, by all of the Trainer's processes; wait for all."""
    todo = job.todo(trainer.global_rank, trainer.world_size)
    share = job.share.part(trainer.global_rank, trainer.world_size)  # the name of what it records
    log.info("%d of %d tracks to encode, into %s", len(todo), len(job.keys), job.folder)
    if todo or trainer.world_size > 1:
        loader = WorkerLoader(
            TrackReader(todo, codec, job.too_loud),
            batch_size=None,
            num_workers=num_workers if todo else 0,
            worker_init_fn=leave_signals_to_main,
        )
        trainer.predict(EncodeModule(codec, job), loader, return_predictions=False)
    if share.count > 1:
        job.end_share(share)
    trainer.strategy.barrier()
