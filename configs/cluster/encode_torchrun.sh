#!/bin/bash
# Encode a folder of music by all GPUs of some machines that share a disk. On each of them:
#
#     NODES=2 NODE=0 HEAD=first.machine configs/cluster/encode_torchrun.sh ~/music ~/tokens [options]
#
# with NODE from 0 on. Stopped at any moment, it continues when it is run again.
set -eu
music=$1 tokens=$2
shift 2
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
torchrun --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "$gpus" \
    --master-addr "$HEAD" --master-port "${PORT:-29500}" \
    cli.py encode "$music" --out "$tokens" --num_nodes "$NODES" --devices "$gpus" "$@"
