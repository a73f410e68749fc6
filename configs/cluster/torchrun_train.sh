#!/bin/bash
# The same without SLURM, on each machine: HEAD=first-machine:29400 NODES=2 torchrun_train.sh TOKENS_FOLDER
# After a stop: add --name RUN --ckpt_path last.
torchrun --nnodes "$NODES" --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint "$HEAD" \
  cli.py fit --config sedd_absorb --config configs/cluster/ddp.yaml --data.tokens "$1" \
  --trainer.num_nodes "$NODES" --trainer.devices 8
