#!/usr/bin/env bash
# Builds a preset with visible progress, configuring only when it has to.
#
#   scripts/build.sh [release|dev|asan|gcc|cuda] [target...]
#
# Needs what scripts/setup.sh left in .cache/setup.env. Nothing to do takes under a second.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/progress.sh
source scripts/progress.sh

preset=${1:-release}
shift || true
[[ -f .cache/setup.env ]] || die "there is no .cache/setup.env" "run scripts/setup.sh first"
torch_dir=$(sed -n 's/^R1_TORCH_DIR=//p' .cache/setup.env)
cxx=$(sed -n 's/^R1_CXX=//p' .cache/setup.env)
if [[ $preset == gcc ]]; then cxx=$(sed -n 's/^R1_GXX=//p' .cache/setup.env); fi
[[ -n $cxx ]] || die "set-up found no compiler for the preset $preset" "run scripts/setup.sh --gcc"
folder=build/$preset

# Other values than last time, or an unfinished first time, mean: configure. CMake's own files are ninja's business.
wanted="$preset $torch_dir $cxx $PWD"
if [[ ! -f $folder/build.ninja || $(cat "$folder/configured_for" 2>/dev/null) != "$wanted" ]]; then
  rm -f "$folder/CMakeCache.txt"
  with_progress "configuring $folder" cmake --preset "$preset" -DR1_TORCH_DIR="$torch_dir" -DCMAKE_CXX_COMPILER="$cxx" ||
    die "cmake could not configure $folder; its message is above"
  printf '%s\n' "$wanted" >"$folder/configured_for"
fi

# A clang compile of a file with LibTorch takes about 1 GB, a g++ one 2 GB: too many at once would exhaust memory.
available_gib=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)
jobs=$(((available_gib + 1) / 2))
cores=$(nproc)
if ((jobs > cores)); then jobs=$cores; fi
if ((jobs < 1)); then jobs=1; fi

export NINJA_STATUS='[%f/%t %es] '
if [[ -t 2 ]]; then
  cmake --build "$folder" -j "$jobs" ${@:+--target "$@"} >&2 </dev/null
else
  with_progress "building $folder" cmake --build "$folder" -j "$jobs" ${@:+--target "$@"}
fi || die "the build of $folder failed; the compiler's message is above"
