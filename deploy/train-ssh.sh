#!/usr/bin/env bash
# One training by several machines, started over ssh.
#
#   deploy/train-ssh.sh gpu1 gpu2 -- --data /disk/data_256 --run /disk/runs/tuned --preset tuned --batch 128
#
# Each machine has this repository at the same path, with JAX in its .venv, and sees the same disk; each takes all of its
# GPUs. The first is the coordinator. The same command goes on after a stop: Ctrl-C ends all at their last checkpoint.
set -euo pipefail
hosts=()
while [[ $# -gt 0 && $1 != -- ]]; do
    hosts+=("$1")
    shift
done
shift
environment="KERAS_BACKEND=jax"
trap 'kill $(jobs -p) 2>/dev/null || true' INT TERM
for i in "${!hosts[@]}"; do
    command=(train.py "$@" --resume --coordinator "${hosts[0]}:${PORT:-12321}" --process "$i/${#hosts[@]}")
    ssh -tt "${hosts[i]}" "cd $(printf %q "$PWD") && $environment exec ${VENV:-.venv}/bin/python $(printf '%q ' "${command[@]}")" \
        </dev/null &
done
status=0
for job in $(jobs -p); do
    wait "$job" || status=$?
done
exit "$status"
