"""Runs the peers' side and ours of each benchmark row in alternation, and writes medians, ratios and goals as Markdown.

    .venv-peers/bin/python scripts/peers/compare.py [--runs 3] [--only ROW ...] [--side both] [--output docs/benchmarks/cpu.md]

scripts/bench_peers.sh calls it after set-up and build. Every run is a process of its own, peer then ours, so that a slow
minute of the machine hits both. --side peers or ours runs one side alone and writes nothing.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
R1 = "build/release/src/apps/r1"

# row: (what is done, peer's script and arguments, our arguments, JSON key, our speed must be this many times the peer's)
ROWS = {
    "train": ("SFT step, 4 x 256 tokens, all trained", ["train.py"],
              ["bench", "train", "--config", "configs/bench/smollm2_train.yaml"], "tokens_per_s", 1.15),
    "forward": ("forward log-probabilities, 4 x 256", ["forward.py"],
                ["bench", "forward", "--config", "configs/bench/smollm2_forward.yaml"], "tokens_per_s", 1.0),
    "rollout32": ("rollout, 32 sequences, prompt 64, 32 new", ["rollout.py", "--rows=32"],
                  ["bench", "rollout", "--config", "configs/bench/smollm2_rollout32.yaml"], "tokens_per_s", 3.0),
    "rollout1": ("rollout, 1 sequence, prompt 64, 32 new", ["rollout.py", "--rows=1"],
                 ["bench", "rollout", "--config", "configs/bench/smollm2_rollout1.yaml"], "tokens_per_s", 2.0),
    "grpo": ("GRPO step, 8 prompts of 54 x 8 completions of 8, beta 0.001", ["grpo.py"],
             ["bench", "grpo", "--config", "configs/bench/smollm2_grpo.yaml"], "seconds", 4.0),
    "tiny_train": ("tiny model, training, 32 x 128", ["train.py", "--shape=tiny", "--rows=32", "--columns=128", "--repeats=5"],
                   ["bench", "train", "--config", "configs/bench/tiny_train.yaml"], "tokens_per_s", 1.5),
    "tiny_rollout": ("tiny model, rollout, 256 sequences, prompt 16, 64 new",
                     ["rollout.py", "--shape=tiny", "--rows=256", "--prompt=16", "--new=64", "--repeats=3"],
                     ["bench", "rollout", "--config", "configs/bench/tiny_rollout.yaml"], "tokens_per_s", 5.0),
    "experts": ("expert layer, forward + backward, E 64, k 6, 2 shared, 2,048 tokens, C 512, F 352", ["experts.py"],
                ["bench", "experts", "--config", "configs/bench/experts.yaml"], "tokens_per_s", 1.3),
    "experts256": ("the same, F 256", ["experts.py", "--width=256"],
                   ["bench", "experts", "--config", "configs/bench/experts.yaml", "model.moe_intermediate_size=256"],
                   "tokens_per_s", 1.3),
    "routed": ("the same, F 352, no shared experts", ["experts.py", "--shared=0"],
               ["bench", "experts", "--config", "configs/bench/experts.yaml", "model.n_shared_experts=0"], "tokens_per_s", 1.3),
}
UNITS = {"tokens_per_s": "tok/s", "seconds": "s"}


def run(command):
    """The JSON object that a command prints as its last line."""
    start = time.monotonic()
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    if result.returncode != 0 or not lines:
        sys.exit(f"{' '.join(command)}\nended with exit code {result.returncode} and no JSON line:\n"
                 f"{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return json.loads(lines[-1]), time.monotonic() - start


def measure(row, runs, side):
    """{"peers": [numbers], "ours": [numbers]} and the peers' versions."""
    title, peer, ours, key, _ = ROWS[row]
    commands = {"peers": [sys.executable, "scripts/peers/" + peer[0], *peer[1:]], "ours": [R1, *ours, "--json"]}
    if side != "both":
        commands = {side: commands[side]}
    numbers, versions = {name: [] for name in commands}, {}
    for i in range(runs):
        for name, command in commands.items():
            print(f"{row}: {title}: run {i + 1} of {runs}, {name} ...", flush=True)
            answer, wall_s = run(command)
            numbers[name].append(float(answer[key]))
            versions.update(answer.get("versions", {}) if name == "peers" else {})
            print(f"{row}: {name} {answer[key]:.4g} {UNITS[key]} ({wall_s:.0f} s with start-up)", flush=True)
    return numbers, versions


def read_first(path, prefix):
    try:
        with open(path, encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith(prefix))
    except (OSError, StopIteration):
        return "unknown"


def shell(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def machine():
    flags = read_first("/proc/cpuinfo", "flags").split()
    sets = [name for name in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    memory_gib = int(read_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    return (f"{read_first('/proc/cpuinfo', 'model name')}, {len(os.sched_getaffinity(0))} cores used, {' '.join(sets)}, "
            f"{memory_gib:.0f} GiB, {platform.system()} {platform.release()}")


def compiler():
    with open(os.path.join(ROOT, ".cache/setup.env"), encoding="utf-8") as file:
        path = next(line.strip().split("=", 1)[1] for line in file if line.startswith("R1_CXX="))
    return shell(path, "--version").splitlines()[0]


def format_row(row, numbers):
    title, _, _, key, goal = ROWS[row]
    peers, ours = statistics.median(numbers["peers"]), statistics.median(numbers["ours"])
    ratio = ours / peers if key == "tokens_per_s" else peers / ours
    spread = lambda values: f"{min(values):.3g} to {max(values):.3g}"
    return (f"| {title} | {peers:.4g} {UNITS[key]} ({spread(numbers['peers'])}) | {ours:.4g} {UNITS[key]} "
            f"({spread(numbers['ours'])}) | **{ratio:.2f}x** | {goal:g}x | {'yes' if ratio >= goal else 'no'} |")


def document(table, versions, runs, load):
    changed = " with uncommitted changes" if shell("git", "status", "--porcelain", "--untracked-files=no") else ""
    return "\n".join([
        "# Speed on a CPU, beside the peers",
        "Written by `scripts/bench_peers.sh`: the same work in the same run, peer and ours in alternation, each in its own",
        f"process; medians of {runs} runs (smallest to largest in brackets). float32, both cores, SmolLM2-135M shape unless it",
        "says tiny (C 192, 6 layers, V 64, 2.7M parameters). tok/s: trained or scored positions, or new tokens with the time",
        "of the prompts' forward included, divided by seconds. Ratio: how many times as fast as the peer.",
        "",
        f"- machine: {machine()}",
        f"- load average when it began: {load:.2f} (above 0.5 the numbers are not to be trusted)",
        f"- peers: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}",
        f"- ours: commit {shell('git', 'rev-parse', '--short=12', 'HEAD')}{changed}, "
        f"{compiler()}, "
        f"{datetime.date.today()}",
        "",
        "| same work | peer | ours | ratio | goal | reached |", "|---|---|---|---|---|---|", *table, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--side", choices=("both", "peers", "ours"), default="both")
    parser.add_argument("--output", default="docs/benchmarks/cpu.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: the load average is {load:.2f}; another busy process makes every number worthless", flush=True)
    table, versions = [], {}
    for row in options.only:
        numbers, row_versions = measure(row, options.runs, options.side)
        versions.update(row_versions)
        if options.side == "both":
            table.append(format_row(row, numbers))
            print(table[-1], flush=True)
    if options.side != "both":
        return
    text = document(table, versions, options.runs, load)
    print("\n" + text)
    if options.only == list(ROWS):
        path = os.path.join(ROOT, options.output)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"written to {options.output}")
    else:
        print(f"not written to {options.output}: only {', '.join(options.only)} was run")


if __name__ == "__main__":
    main()
