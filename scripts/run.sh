#!/usr/bin/env bash
# Sets the machine up, builds, and runs a config. A second call does no network and no rebuild.
#
#   scripts/run.sh [config] [key=value ...]      default: configs/tiny/r1.yaml
#
# Exits with r1's exit code; Ctrl-C and SIGTERM reach r1 itself.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/progress.sh
source "$root/scripts/progress.sh"

config=$root/configs/tiny/r1.yaml
case ${1-} in
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  '' | *=*) ;;
  *)
    config=$1
    shift
    if [[ ! -f $config && -f $root/$config ]]; then config=$root/$config; fi ;;
esac
[[ -f $config ]] || die "there is no config '$config'" "the ones that come with r1:" \
  "$(cd "$root" && find configs -name '*.yaml' | sort | tr '\n' ' ')"

# The config and all that it extends, as text.
config_text() {
  local file=$1 parent
  cat "$file"
  parent=$(awk -F"[[:space:]]*:[[:space:]]*" '/^extends:/ {gsub(/["\047]|[[:space:]]*#.*/, "", $2); print $2; exit}' "$file")
  if [[ -n $parent ]]; then
    [[ $parent == /* ]] || parent=$(dirname "$file")/$parent
    if [[ -f $parent && $parent != "$file" ]]; then config_text "$parent"; fi
  fi
}

setup_options=()
text=$(config_text "$config" | sed 's/#.*//')
if [[ "$text $*" == *data/cache/smollm2-135m-instruct.gguf* ]]; then
  setup_options+=(--model smollm2)
fi
bash "$root/scripts/setup.sh" "${setup_options[@]}" >/dev/null
bash "$root/scripts/build.sh" release r1
if [[ $config != /* ]]; then config=$PWD/$config; fi
cd "$root"
config=${config#"$root/"}
exec build/release/src/apps/r1 run "$config" "$@"
