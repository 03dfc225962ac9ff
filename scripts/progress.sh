# shellcheck shell=bash
# Sourced by the other scripts: keeps long steps visible.
#
# with_progress LABEL COMMAND...  runs the command, shows its output line by line, and when it has been silent for
# 8 seconds prints "LABEL: still running, N s". Returns the command's exit code. Output goes to stderr, so that a
# script's stdout stays for its result.

say() { printf '%s\n' "$*" >&2; }

die() {  # die MESSAGE...: one message per argument line, exit code 1
  printf 'error: %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

with_progress() {
  local label=$1 start=$SECONDS line=
  shift
  {
    local code=0
    "$@" 2>&1 </dev/null || code=$?
    printf '\n%s %d\n' "@exit-code@" "$code"
  } | {
    local code=1 read_status
    while true; do
      IFS= read -r -t 8 line && read_status=0 || read_status=$?
      if ((read_status > 128)); then  # nothing complete for 8 s; a partial line is shown with the note
        printf '%s: still running, %d s %s\n' "$label" $((SECONDS - start)) "$line" >&2
      elif ((read_status != 0)); then
        break
      elif [[ $line == "@exit-code@ "* ]]; then
        code=${line#@exit-code@ }
      elif [[ -n $line ]]; then
        printf '%s\n' "$line" >&2
      fi
    done
    (exit "$code")
  }
}
