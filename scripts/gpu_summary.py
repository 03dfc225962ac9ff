"""Makes results.json and summary.md of the logs that scripts/gpu_check.sh left in a folder, and prints the summary.

    GPU="NVIDIA H100, 9.0, ..." COMMIT=abc python3 scripts/gpu_summary.py FOLDER

Exit code 1 when a step did not pass or no step is there.
"""

import json
import os
import sys


def rows_of(folder, name):
    """The JSON objects among a log's lines."""
    path = os.path.join(folder, name + ".log")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if line.startswith("{")]
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:  # the step was stopped in the middle of a line
            continue
    return rows


def kernel_table(rows):
    limits = next((row["limits"] for row in rows if "limits" in row), None)
    if not limits:
        return []
    lines = ["", f"Limits measured in this run: copy {limits['copy_gb_per_s']:.0f} GB/s, bf16 product {limits['product_tflop_per_s']:.0f} TFLOP/s.",
             "share: of the time that no implementation could beat here; ratio: torch's time over ours, in alternation.", "",
             "| operation | shape | time (us) | GB/s | TFLOP/s | share | ratio | against |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        if "limits" in row:
            continue
        if "seconds" not in row:
            lines.append(f"| {row['op']} | {row['shape']} | failed: {row['error'].splitlines()[0]} | | | | | |")
            continue
        lines.append(f"| {row['op']} | {row['shape']} | {1e6 * row['seconds']:.1f} | {row['gb_per_s']:.0f} | {row['tflop_per_s']:.1f} "
                     f"| {100 * row['share']:.0f} % | {row['ratio']:.2f} | {row['plain']}{' (differs)' if 'error' in row else ''} |")
    return lines


def main():
    folder = sys.argv[1]
    steps = []
    path = os.path.join(folder, "steps.tsv")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            steps = [dict(zip(("name", "result", "seconds"), line.rstrip("\n").split("\t"))) for line in file]
    kernels = rows_of(folder, "kernels")
    benches = {step["name"]: rows_of(folder, step["name"]) for step in steps if "-" in step["name"] and step["name"] != "compute-sanitizer"}
    lines = ["# What a GPU said", "", f"`scripts/gpu_check.sh` on {os.environ.get('GPU', '?')}; commit {os.environ.get('COMMIT', '?')}.", "",
             "| step | result | seconds |", "|---|---|---|"]
    lines += [f"| {step['name']} | {step['result']} | {step['seconds']} |" for step in steps]
    if any(benches.values()):
        lines += ["", "| work | tokens/s | seconds | TFLOP/s |", "|---|---|---|---|"]
        for name, rows in benches.items():
            for row in rows[-1:]:
                lines.append(f"| {name} | {row['tokens_per_s']:.0f} | {row['seconds']:.3f} | {row['gflops_per_s'] / 1e3:.1f} |")
    lines += kernel_table(kernels)
    with open(os.path.join(folder, "summary.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"gpu": os.environ.get("GPU"), "commit": os.environ.get("COMMIT"), "steps": steps, "kernels": kernels,
                   "benches": {name: rows[-1] for name, rows in benches.items() if rows}}, file, indent=1)
    print("\n".join(lines))
    passed = bool(steps) and all(step["result"] in ("passed", "not installed") for step in steps)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
