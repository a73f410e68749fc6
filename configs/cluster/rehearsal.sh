#!/bin/bash
# A cluster rehearsed on one Linux computer. As root, in the project's folder:
#
#     configs/cluster/rehearsal.sh MUSIC_FOLDER NEW_FOLDER
#
# Two network namespaces, joined by a virtual cable, are two machines that share a disk. One process
# trains 12 steps (`whole`). Two machines start the same run, and one is killed after step 6 (`cut`);
# from there one process (`one`), two (`two`) and two machines with two processes each (`four`)
# resume it. At the end their losses and weights are compared.
set -eu
music=$1 out=$2
export OMP_NUM_THREADS=1

cable() {
    ip netns add rehearsal0
    ip netns add rehearsal1
    ip link add veth0 netns rehearsal0 type veth peer name veth1 netns rehearsal1
    for n in 0 1; do
        ip -n rehearsal$n addr add 10.77.0.$((n + 1))/24 dev veth$n
        ip -n rehearsal$n link set lo up
        ip -n rehearsal$n link set veth$n up
    done
}

settings() {
    cat <<END
model:
  init_args:
    length: 64
    net: {class_path: sedd.ddit.DDiT, init_args: {hidden_size: 64, num_blocks: 2}}
    warmup_steps: 5
data:
  init_args: {tokens: $out/tokens, batch_size: 2, global_batch: 8, val_windows: 8}
trainer:
  accelerator: cpu
  precision: 32-true
  strategy: ddp
  max_steps: 12
  val_check_interval: 4
  log_every_n_steps: 1
  logger: CSVLogger
  callbacks:
    - {class_path: callbacks.ema.EMA, init_args: {decay: 0.9}}
    - {class_path: callbacks.checkpoint.StepCheckpoint, init_args: {every_n_steps: 3, keep: -1}}
    - {class_path: callbacks.checkpoint.BestCheckpoint}
    - {class_path: callbacks.demo.Demo, init_args: {num_demos: 1, seconds: 1.0}}
    - {class_path: callbacks.fad.FAD, init_args: {embedding: logmel, num_clips: 4, seconds: 1.0}}
END
}

fit=(cli.py fit --config sedd_absorb --config tiny --config "$out/rehearsal.yaml")

alone() { # FOLDER PROCESSES [OPTIONS]
    python "${fit[@]}" --trainer.default_root_dir "$out/$1" --trainer.devices "$2" "${@:3}" \
        >"$out/$1.log" 2>&1
}

machine() { # NUMBER FOLDER PROCESSES [OPTIONS]
    ip netns exec "rehearsal$1" env GLOO_SOCKET_IFNAME="veth$1" \
        torchrun --nnodes 2 --nproc-per-node "$3" --rdzv-backend c10d \
        --rdzv-endpoint 10.77.0.1:29400 --rdzv-conf "is_host=$((1 - $1))" \
        --local-addr "10.77.0.$(($1 + 1))" \
        "${fit[@]}" --trainer.default_root_dir "$out/$2" --trainer.num_nodes 2 \
        --trainer.devices "$3" "${@:4}" >"$out/$2_machine$1.log" 2>&1
}

compare() {
    python - "$out" <<'END'
import csv, sys, torch

def last(name):
    return torch.load(f"{sys.argv[1]}/{name}/checkpoints/step_00000012.ckpt", weights_only=True)

def losses(name):
    rows = list(csv.DictReader(open(f"{sys.argv[1]}/{name}/curves.csv")))
    return {row["step"]: float(row["val/loss"]) for row in rows if row.get("val/loss")}

whole, expected = last("whole")["current_model_state"], losses("whole")
print("whole", expected)
for name in ("one", "two", "four"):
    made = last(name)["current_model_state"]
    far = max((made[key] - whole[key]).abs().max().item() for key in whole)
    print(f"{name:5}", losses(name), f"weights differ by {far:.1e} at most")
END
}

mkdir -p "$out"
settings >"$out/rehearsal.yaml"
trap 'ip netns del rehearsal0; ip netns del rehearsal1' EXIT
cable
python cli.py encode "$music" --out "$out/tokens" --codec codec.spectral.SpectralCodec \
    --codec.num_codebooks 4
alone whole 1 --trainer.strategy auto

machine 0 cut 1 --trainer.max_steps 1000 &
first=$!
machine 1 cut 1 --trainer.max_steps 1000 &
at_six=$out/cut/checkpoints/step_00000006.ckpt
until [ -e "$at_six" ]; do
    kill -0 $first
    sleep 0.1
done
ip netns pids rehearsal1 | xargs kill -9
killed=$SECONDS
wait $first || echo "the other machine ended with status $?, $((SECONDS - killed)) s later"

alone one 1 --trainer.strategy auto --ckpt_path "$at_six"
alone two 2 --ckpt_path "$at_six"
machine 1 four 2 --ckpt_path "$at_six" &
machine 0 four 2 --ckpt_path "$at_six"
wait
compare
