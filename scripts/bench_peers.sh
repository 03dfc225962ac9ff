#!/usr/bin/env bash
# Times r1 beside transformers and trl on this machine and writes docs/benchmarks/cpu.md. About 40 minutes on two cores.
#
#   scripts/bench_peers.sh [--runs 3] [--only ROW ...] [--side both|peers|ours]
#
# Rows: train forward rollout32 rollout1 grpo tiny_train tiny_rollout experts experts256 routed. The machine must be otherwise idle: one more busy
# process makes every parallel region wait. Our command lines are in the table of scripts/peers/compare.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1-} in -h | --help) sed -n '2,7s/^# \{0,1\}//p' scripts/bench_peers.sh; exit 0 ;; esac

bash scripts/setup.sh --peers >/dev/null
[[ " $* " == *" --side peers "* ]] || bash scripts/build.sh release r1
exec .venv-peers/bin/python scripts/peers/compare.py "$@"
