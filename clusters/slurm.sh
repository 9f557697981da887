#!/bin/bash
# A study on Slurm: Ray on all nodes of one job, the study on the first of them. From the root of the repository:
#
#   sbatch clusters/slurm.sh studies/quick.py --out /shared/results --no-report
#
# What follows the script's name are options of `python -m rdstudy.run`. --out is a folder that all nodes see, or a bucket.
# Change the lines below, or give other values before the script's name: `sbatch --nodes=8 --gres=none clusters/slurm.sh ...`.
#SBATCH --job-name=rdstudy
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
# Two minutes before the end of its time the study saves its checkpoints and ends: the same command goes on from there.
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
python=${PYTHON:-.venv/bin/python}
ray=$(dirname "$python")/ray
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
if [ -z "${RAY_AUTH_TOKEN:-}" ] && [ ! -s ~/.ray/auth_token ]; then  # without it, nobody joins
    (umask 077 && "$ray" get-auth-token --generate >/dev/null)
fi

# Other jobs may be on the same nodes, with a Ray of their own: nothing here looks for Ray, or stops it, by name.
export RAY_TMPDIR=/tmp/rd-$SLURM_JOB_ID
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))
start=("$ray" start --block --disable-usage-stats --object-store-memory=500000000
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
step=(srun --overlap --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK")
steps=()
finish() {
    if ((${#steps[@]})); then kill "${steps[@]}" 2>/dev/null || true; wait "${steps[@]}" 2>/dev/null || true; fi
    "${step[@]}" rm -rf "$RAY_TMPDIR" || true
}
trap finish EXIT
"${step[@]}" mkdir -p "$RAY_TMPDIR"
"${step[@]}" --nodes=1 --ntasks=1 --nodelist="$head" "${start[@]}" --head --port="$port" --include-dashboard=false &
steps+=($!)
for ((tries = 0; ; tries++)); do
    "$ray" health-check --address "$head:$port" >/dev/null 2>&1 && break
    if ((tries == 60)) || ! kill -0 "${steps[0]}" 2>/dev/null; then echo "no Ray on $head" >&2; exit 1; fi
    sleep 2
done
if ((SLURM_JOB_NUM_NODES > 1)); then
    others=$((SLURM_JOB_NUM_NODES - 1))
    "${step[@]}" --nodes="$others" --ntasks="$others" --exclude="$head" "${start[@]}" --address="$head:$port" &
    steps+=($!)
fi

"$python" -m rdstudy.run "$@" --address "$head:$port" &
study=$!
trap 'kill -TERM "$study" 2>/dev/null' TERM INT
status=0
wait "$study" || status=$?
if kill -0 "$study" 2>/dev/null; then status=0; wait "$study" || status=$?; fi  # the first wait ended with the signal
exit "$status"
