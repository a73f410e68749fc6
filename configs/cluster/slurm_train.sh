#!/bin/bash
# Training on several machines: sbatch configs/cluster/slurm_train.sh TOKENS_FOLDER
# Before the time is over SLURM sends SIGUSR1: the run saves and goes back into the queue, and the
# next job resumes it exactly, also on another number of machines.
#SBATCH --job-name=music --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=8
#SBATCH --time=12:00:00 --signal=SIGUSR1@120 --requeue
srun python cli.py fit --config sedd_absorb --config configs/cluster/ddp.yaml --data.tokens "$1" \
  --trainer.num_nodes "$SLURM_NNODES" --trainer.devices 8
