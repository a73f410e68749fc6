#!/usr/bin/env bash
# Build the wheel, install it into an environment of its own, train and sample in another folder.
# The dependencies are those of $PYTHON, which saves installing 5.5 GB a second time.
. "$(dirname "$0")/environment.sh"
export OMP_NUM_THREADS=1 XDG_CACHE_HOME="$work/cache" WANDB_MODE=disabled

git -C "$root" archive --format=tar HEAD | (mkdir "$work/source" && tar x -C "$work/source")
cd "$work"
git -C "$root" describe --always --abbrev=12 > source/music_diffusion/commit.txt
"$python" -m pip wheel --quiet --no-deps --wheel-dir dist ./source
make_environment env
"$python" -m pip --python env/bin/python install --quiet --no-deps --no-index dist/*.whl

mkdir elsewhere && cd elsewhere
md=../env/bin/music-diffusion
../env/bin/python - <<'PYTHON'
import numpy as np, soundfile

for name in ("a", "b", "c"):
    soundfile.write(f"{name}.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 44100), 44100)
PYTHON
$md --version
$md fit --config sedd_absorb --config tiny --config quickstart --name tiny --data.audio . \
  --model.length 64 --model.net.hidden_size 16 --model.net.num_blocks 1 --model.net.num_heads 2 \
  --trainer.max_steps 4 --trainer.val_check_interval 2 --data.batch_size 2 \
  --model.sampler.steps 2 --trainer.limit_val_batches 1 --trainer.accelerator cpu
$md sample last --seconds 3 --count 1 --steps 2 --accelerator cpu
$md encode samples --out store --accelerator cpu
$md page samples
$md fad samples samples --embedding logmel --device cpu
../env/bin/python - <<'PYTHON'
import music_diffusion as md
import sedd.module

assert "elsewhere" not in sedd.module.__file__ and "env" in sedd.module.__file__
audio = md.load("last", accelerator="cpu").generate(seconds=0.5, seed=1)
print("the wheel works:", list(audio.shape))
PYTHON
