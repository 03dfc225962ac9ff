#!/usr/bin/env python3
"""Compares verdicts and speed of the maths verifier with the PyPI package math-verify.

  scripts/compare_maths.py --pipe build/release/tests/reward/maths_pipe [--pairs tests/golden/maths/pairs.jsonl]
                           [--passes 5] [--out differences.jsonl]           (Python with math-verify installed)

Every pair goes through math-verify (parse of both sides as \\boxed{...}, then verify) and through ours, one thread each.
Times are microseconds for a pair: ours the fastest of --passes, theirs the CPU time of one run after a warm-up on all pairs
(its parser learns the grammar as it goes); its cache of parsed texts is emptied before each pair. Differing verdicts are printed, with --out also written.
"""
import argparse
import importlib.metadata
import json
import logging
import pathlib
import statistics
import subprocess
import time

import math_verify.parser
from math_verify import parse, verify

ROOT = pathlib.Path(__file__).resolve().parents[1]


def theirs(pair):
    for function in (math_verify.parser.parse_latex_cached, math_verify.parser.parse_expr_cached, math_verify.parser.extract_latex):
        function.cache_clear()
    start = time.thread_time()
    right = verify(*(parse("\\boxed{" + pair[side] + "}", parsing_timeout=60) for side in ("gold", "answer")), timeout_seconds=60)
    return right, (time.thread_time() - start) * 1e6


def spread(times):
    times = sorted(times)
    return f"median {statistics.median(times):.1f}, 99 % {times[int(0.99 * (len(times) - 1))]:.1f}, max {times[-1]:.1f} us"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", required=True)
    parser.add_argument("--pairs", default=ROOT / "tests/golden/maths/pairs.jsonl")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--out")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows = [json.loads(line) for line in pathlib.Path(args.pairs).read_text(encoding="utf-8").splitlines()]
    pairs = [row for row in rows if "gold" in row]
    done = subprocess.run([args.pipe, str(args.passes)], input="\n".join(json.dumps(p) for p in pairs) + "\n",
                          capture_output=True, text=True, check=True)
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    for pair in pairs:
        theirs(pair)
    their = [theirs(pair) for pair in pairs]
    differing = []
    for pair, mine, (right, _) in zip(pairs, ours, their):
        if (mine["verdict"] == "right") != right:
            differing.append({**pair, "ours": mine["verdict"], "math_verify": right})
            print(f"{pair['gold']!r} || {pair['answer']!r}: ours {mine['verdict']}, math-verify {'right' if right else 'wrong'}")
    if args.out:
        pathlib.Path(args.out).write_text("".join(json.dumps(d) + "\n" for d in differing), encoding="utf-8")
    our_us, their_us = [row["us"] for row in ours], [us for _, us in their]
    print(f"{len(pairs)} pairs, {len(pairs) - len(differing)} equal verdicts, {len(differing)} different")
    print(f"ours:        {spread(our_us)}")
    print(f"math-verify: {spread(their_us)} ({importlib.metadata.version('math-verify')})")
    ratios = [b / a for a, b in zip(our_us, their_us)]
    print(f"ratio:       medians {statistics.median(their_us) / statistics.median(our_us):.0f}, sums {sum(their_us) / sum(our_us):.0f}, "
          f"of single pairs median {statistics.median(ratios):.0f}")


if __name__ == "__main__":
    main()
