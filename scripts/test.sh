#!/usr/bin/env bash
# Sets the machine up, builds everything and runs all tests.
#
#   scripts/test.sh [--asan | --gcc | --dev | --cuda] [ctest arguments, for example -R tokenizer]
#
# Closes with 'N passed, N failed', counting test cases. Exit code 0 only when none failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/progress.sh
source scripts/progress.sh

preset=release
setup_options=()
case ${1-} in
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' scripts/test.sh; exit 0 ;;
  --gcc | --cuda) preset=${1#--} setup_options+=("$1"); shift ;;
  --asan | --dev) preset=${1#--}; shift ;;
esac

bash scripts/setup.sh "${setup_options[@]}" >/dev/null
bash scripts/build.sh "$preset"

# One after the other: most of them use both cores of a small machine already.
results=build/$preset/tests.xml
rm -f "$results"
code=0
with_progress "testing" ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
  --output-junit "$PWD/$results" --test-output-size-passed 200000 --test-output-size-failed 200000 "$@" || code=$?
[[ -f $results ]] || die "ctest left no $results; its message is above"
python3 scripts/count_tests.py "$results" || code=1
exit "$code"
