#!/usr/bin/env bash
# Opens reports in headless Chromium, uses every control, and makes screenshots.
#
#   scripts/check_report.sh report.html [more.html ...]     screenshots go to build/report_shots/ (or $SHOTS)
#
# For whoever works on the page; nothing else needs it. Needs Debian's package `chromium` (or CHROMIUM=/path/to/chrome).
# Per report: 1280 and 400 px wide, light and dark. Exit code 1 for any message on the console (an error, a warning, a refused
# request), for a page wider than its window, for a control without a name, and when drawing takes over a second.
set -euo pipefail

cd "$(dirname "$0")/.."
shots=${SHOTS:-build/report_shots}
limit_ms=${LIMIT_MS:-1000}
if (($# == 0)); then
  echo "usage: scripts/check_report.sh report.html [more.html ...]" >&2
  exit 2
fi
browser=${CHROMIUM:-}
for name in chromium chromium-browser google-chrome; do
  [[ -n $browser ]] || browser=$(command -v "$name" || true)
done
if [[ -z $browser ]]; then
  echo "check_report: no Chromium; install the package 'chromium', or name the program: CHROMIUM=/path/to/chrome" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$shots"

# chrome <log> <arguments>: a fresh profile, what the page says goes to the log.
chrome() {
  local log=$1
  shift
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" --enable-logging=stderr \
    "$@" >"$work/out" 2>"$log" || true
}

# use_controls <log> <arguments>: a browser that stays, in real time, until the page says that it is done, for a minute at most.
use_controls() {
  local log=$1
  shift
  : >"$log"
  timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --enable-logging=stderr \
    --remote-debugging-port=0 "$@" >"$work/out" 2>"$log" &
  local pid=$!
  while kill -0 "$pid" 2>/dev/null && ! grep -q -e '"DONE ' -e '"FAILED ' "$log"; do sleep 0.2; done
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# framed <page> <width> <height>: a window has a least width, a frame in it has not.
framed() {
  printf '<!DOCTYPE html><body style="margin:0"><iframe src="%s" width="%d" height="%d" style="border:0"></iframe>' "$@" >"$work/frame.html"
}

# The console's messages, without the program's own prefix.
messages() { sed -n 's/.*CONSOLE[^]]*\] *//p' "$1"; }

failed=0
for report in "$@"; do
  name=$(basename "$report" .html)
  cp "$report" "$work/page.html"
  {
    cat "$report"
    printf '<script>\n%s\n</script>\n' "$(cat tests/report/exercise.js)"
  } >"$work/exercise.html"
  for width in 1280 400; do
    for scheme in light dark; do
      height=$((width == 400 ? 9000 : 5000))
      flags=(--window-size="$width,$height")
      [[ $scheme == dark ]] && flags+=(--blink-settings=preferredColorScheme=0)
      shot="$shots/$name-$width-$scheme.png"
      framed page.html "$width" "$height"
      chrome "$work/log" "${flags[@]}" --virtual-time-budget=3000 --screenshot="$shot" "file://$work/frame.html"
      if [[ ! -s $shot ]]; then
        echo "check_report: $report: no screenshot; the browser said:" >&2
        tail -5 "$work/log" >&2
        failed=1
      fi
      if [[ -n $(messages "$work/log") ]]; then
        echo "check_report: $report at $width px, $scheme, writes on the console:" >&2
        messages "$work/log" >&2
        failed=1
      fi
    done
    framed exercise.html "$width" 900
    use_controls "$work/log" --window-size="1300,920" "file://$work/frame.html"
    found=$(messages "$work/log")
    ready=$(sed -n 's/^"READY \([0-9]*\) ms.*/\1/p' <<<"$found" | head -1)
    echo "check_report: $report at $width px: $(sed -n 's/^"\(READY\|DONE\) \(.*\)", source.*/\2/p' <<<"$found" | paste -sd';' | sed 's/;/; /')"
    wrong=$(grep -v -e '^"READY ' -e '^"DONE ' <<<"$found" || true)
    if [[ -n $wrong ]] || ! grep -q '^"DONE ' <<<"$found"; then
      echo "check_report: $report at $width px fails: ${wrong:-it did not come to the end of tests/report/exercise.js}" >&2
      failed=1
    fi
    if [[ -z $ready ]] || ((ready > limit_ms)); then
      echo "check_report: $report at $width px took ${ready:-too many} ms to draw; accepted: $limit_ms" >&2
      failed=1
    fi
  done
done
((failed)) || echo "check_report: $# report(s) without a message; screenshots in $shots"
exit "$failed"
