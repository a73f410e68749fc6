#!/bin/bash
# Encode a folder of music by an array of jobs, each with its own part of the files:
#
#     sbatch --array=1-16 configs/cluster/encode_slurm.sh ~/music ~/tokens [options of encode]
#
# A job that is killed is started again (--requeue) and continues; run the same line again after
# failures or with new music. The job that ends last puts the store in order.
#SBATCH --job-name=encode
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=encode_%A_%a.log
set -eu
music=$1 tokens=$2
shift 2
srun python cli.py encode "$music" --out "$tokens" \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --devices 1 --num_workers 7 "$@"
