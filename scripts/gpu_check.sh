#!/usr/bin/env bash
# Builds, tests and times r1 on the GPU of this machine within 9 minutes, without a network.
#
#   scripts/gpu_check.sh [--output build/gpu_check] [--prefix DIR] [--minutes 9]
#
# Needs a GPU of compute capability 8.x or 9.0, nvcc, a python3 with torch 2.11 (its LibTorch is used) or what scripts/setup.sh --cuda
# left, CMake, Ninja, and the libraries that scripts/setup.sh installs. --prefix: where those libraries lie when not in /usr, for example
# Debian packages unpacked with `dpkg -x`; DIR/usr/include and DIR/usr/lib are searched.
#
# Steps, each under a limit of its own and all under --minutes: build, kernel tests, compute-sanitizer's memcheck and racecheck on them,
# every collective through NCCL with one rank, `r1 doctor`, `r1 bench kernels`, `r1 bench train|rollout|grpo` on
# configs/bench/qwen2.5_0.5b.yaml and moe.yaml. A step that fails or runs out of time does not stop the others. The folder then has a log
# per step, results.json and summary.md; the summary is printed too.
# Exit code 0 only when every step passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/progress.sh
source scripts/progress.sh

output=build/gpu_check prefix='' minutes=9
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,16s/^# \{0,1\}//p' scripts/gpu_check.sh; exit 0 ;;
    --output | --prefix | --minutes)
      (($# > 1)) || die "$1 needs a value"
      case $1 in --output) output=$2 ;; --prefix) prefix=$2 ;; *) minutes=$2 ;; esac
      shift ;;
    *) die "unknown option '$1'; accepted: --output DIR, --prefix DIR, --minutes N" ;;
  esac
  shift
done
[[ $minutes =~ ^[1-9][0-9]*$ ]] || die "--minutes is '$minutes'; accepted: a whole number from 1 on"
[[ -z $prefix || -d $prefix/usr/include ]] || die "--prefix is '$prefix', which has no usr/include"

have() { command -v "$1" >/dev/null 2>&1; }

gpu=$(nvidia-smi --query-gpu=name,compute_cap,memory.total,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
[[ -n $gpu ]] || die "nvidia-smi shows no GPU here" "the kernels' tests run without one too, under an emulator: scripts/test.sh -R cuda"
case $(cut -d, -f2 <<<"$gpu" | tr -d ' ') in
  9.0) architecture=90a-real ;;
  8.*) architecture=80-real ;;
  *) die "the GPU is '$gpu'; accepted: compute capability 8.x or 9.0" ;;
esac
export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
for tool in nvcc cmake ninja python3; do have "$tool" || die "$tool is not on PATH" "scripts/setup.sh installs all but nvcc, which is the CUDA toolkit's"; done

torch_dir=$(python3 -c 'import torch, os; print(os.path.dirname(torch.__file__) if torch.__version__.startswith("2.11.") else "")' 2>/dev/null || true)
[[ -n $torch_dir || ! -f .cache/setup.env ]] || torch_dir=$(sed -n 's/^R1_TORCH_DIR=//p' .cache/setup.env)
[[ -n $torch_dir ]] || die "python3 has no torch 2.11 and there is no .cache/setup.env" "run scripts/setup.sh --cuda where there is a network"

mkdir -p "$output"
rm -f "$output"/*.log "$output/steps.tsv" "$output/results.json" "$output/summary.md"
output=$(cd "$output" && pwd)
readonly build=build/gpu start=$SECONDS
readonly deadline=$((start + 60 * minutes - 5))

# step NAME LIMIT_S COMMAND...: its output goes to NAME.log, what became of it to steps.tsv.
step() {
  local name=$1 limit=$2 left=$((deadline - SECONDS)) code=0 begin=$SECONDS
  shift 2
  if ((limit > left)); then limit=$left; fi
  if ((limit < 3)); then
    printf '%s\tno time left\t0\n' "$name" >>"$output/steps.tsv"
    say "$name: no time left"
    return 0
  fi
  say "$name (up to $limit s)"
  timeout --kill-after=5 "$limit" "$@" >"$output/$name.log" 2>&1 </dev/null || code=$?
  local word=passed
  if ((code == 124 || code == 137)); then word="over its limit of $limit s"; elif ((code)); then word="failed with exit code $code"; fi
  printf '%s\t%s\t%d\n' "$name" "$word" $((SECONDS - begin)) >>"$output/steps.tsv"
  ((code == 0)) || { say "$name: $word; the end of $output/$name.log:"; tail -n 5 "$output/$name.log" >&2; }
}

build_all() {
  local options=(-G Ninja -DCMAKE_BUILD_TYPE=Release -DR1_CUDA=ON "-DR1_TORCH_DIR=$torch_dir" "-DCMAKE_CUDA_ARCHITECTURES=$architecture")
  if have clang++-19; then options+=(-DCMAKE_CXX_COMPILER=clang++-19); fi
  if [[ -n $prefix ]]; then
    local usr lib
    usr=$(cd "$prefix/usr" && pwd)
    lib=$usr/lib/$(uname -m)-linux-gnu
    options+=("-DCMAKE_PREFIX_PATH=$usr" "-DCMAKE_CXX_FLAGS=-I$usr/include" "-DCMAKE_EXE_LINKER_FLAGS=-L$lib -Wl,-rpath,$lib -Wl,-rpath-link,$lib"
              "-DCMAKE_LIBRARY_PATH=$lib" "-DCMAKE_INCLUDE_PATH=$usr/include")
    export PKG_CONFIG_PATH=$lib/pkgconfig:$usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$prefix
  fi
  cmake -S . -B "$build" "${options[@]}" && cmake --build "$build" -j "$(nproc)" --target r1 test_gpu_kernels test_gpu_nccl
}
export -f build_all have
export torch_dir architecture prefix build

step build 300 bash -c build_all
readonly r1=$build/src/apps/r1 tests=$build/tests/cuda/test_gpu_kernels nccl=$build/tests/cuda/test_gpu_nccl
if [[ -x $tests ]]; then
  step kernel_tests 60 "$tests" --gtest_brief=1
  if have compute-sanitizer; then
    # The sanitizer is 10 to 100 times as slow: one case of each test.
    for tool in memcheck racecheck; do
      step "$tool" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" --gtest_brief=1 --gtest_filter='-*Large*:*Many*'
    done
  else
    printf 'compute-sanitizer\tnot installed\t0\n' >>"$output/steps.tsv"
  fi
fi
if [[ -x $nccl ]]; then step nccl_tests 60 "$nccl" --gtest_brief=1; fi
if [[ -x $r1 ]]; then
  step doctor 15 "$r1" doctor
  step kernels 75 "$r1" bench kernels --device cuda --seconds 0.5 --json
  for shape in qwen2.5_0.5b moe; do
    for what in train rollout grpo; do
      step "$what-$shape" 30 "$r1" bench "$what" --config "configs/bench/$shape.yaml" --json repeats=3
    done
  done
fi

GPU=$gpu COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown) python3 scripts/gpu_summary.py "$output"
