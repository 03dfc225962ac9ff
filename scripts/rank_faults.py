#!/usr/bin/env python3
"""Breaks real jobs of several ranks in every way we know, and checks what is said, how soon, and that nothing is lost.

    scripts/rank_faults.py [--times 10] [--only kill_rollout ...] [--r1 build/release/src/apps/r1] [--work-dir DIR] [--table FILE.md]

A job is a tiny pre-training and GRPO run under mpirun. Each fault is done to a job of 2, 3 and 4 ranks in turn; then the run is
resumed on another number of ranks, and its weights must be those of a run that nobody disturbed, bit for bit. Needs mpirun and about
a minute of two cores for each fault done ten times. Exit code 1 when a check failed.
"""

import argparse
import contextlib
import glob
import hashlib
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATUS = re.compile(rb"rank \d+ pid (\d+) host \S+ phase (.*?) number (.*)")
DEADLINE_S = 30  # a job that has lost a rank must be down by then

CONFIG = """
name: faults
seed: 3
threads: 1
parallel: {heartbeat_s: 5, deadline_s: 120}
model: {architecture: LlamaForCausalLM, hidden_size: 64, intermediate_size: 128, num_layers: 3, num_heads: 4, num_kv_heads: 2,
        max_positions: 160, rope_theta: 10000, tie_embeddings: true}
tokenizer: {kind: characters, characters: "\\n !\\"'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}
problems: {kind: arithmetic, ops: "+", a: [0, 9], b: [0, 9], prompt: "{a}{op}{b}=", eval_fraction: 0.1, eval_size: 8}
reward: {parts: {accuracy: {kind: exact_answer, extract: last_number}, steps: {kind: repetition, weight: 0.1}}}
checkpoint: {every_steps: 2, keep_last: 2}
pipeline:
  - name: pretrain
    kind: pretrain
    data: {kind: arithmetic_worked, completion: "{steps} {answer}\\n", mixture: {correct: 1.0}}
    steps: 4
    texts_per_step: 16
    micro_batch_tokens: 256
    schedule: {lr: 3.0e-3}
  - name: rl
    kind: grpo
    steps: 8
    prompts_per_step: 8
    group_size: 8
    micro_batch_tokens: 256
    schedule: {lr: 1.0e-3}
    loss: {kl_coef: 0.001}
    sampling: {temperature: 1.0, max_completion_tokens: 40}
    rollout: {max_batch: 16}
"""


class Failure(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Failure(what)


class Job:
    """r1 on `ranks` ranks; its output goes to a file."""

    def __init__(self, args, ranks, command, log, wrap=None):
        # wrap: {rank: shell words before r1}
        start = [args.mpirun] + (["--allow-run-as-root"] if os.geteuid() == 0 else []) + ["--oversubscribe"]
        for rank in range(ranks):
            if rank:
                start.append(":")
            start += ["-n", "1"] + (wrap or {}).get(rank, []) + [args.r1] + command
        self.log = log
        with open(log, "wb") as out:
            self.process = subprocess.Popen(start, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)

    def wait(self, timeout_s):
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Failure(f"still running after {timeout_s} s: {self.text()[-600:]}") from None

    def text(self):
        with open(self.log, errors="replace") as file:
            return file.read()


class TooLate(Failure):
    """The job ended before the fault could be done: some states last for microseconds."""


def catch(job, run_dir, rank, wanted, skip, timeout_s=120):
    """Waits until `rank` is in the state `wanted` for the skip-th time; returns {pid, phase, rest} of it."""
    page, end, inside, polls = None, time.monotonic() + timeout_s, False, 0
    while time.monotonic() < end:
        polls += 1
        if page is None or polls % 1000 == 0:
            if job.process.poll() is not None:
                raise TooLate("the job ended before the fault could be done:\n" + job.text()[-800:])
        if page is None:
            with contextlib.suppress(OSError, ValueError):
                with open(os.path.join(run_dir, "ranks", f"rank-{rank}"), "rb") as file:
                    page = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            continue
        match = STATUS.match(page[:])
        now = match and {"pid": int(match[1]), "phase": match[2].decode().strip(), "rest": match[3].decode().strip()}
        here = bool(now and wanted(now))
        if here and not inside:
            if skip == 0:
                return now
            skip -= 1
        inside = here
    raise Failure("the state never came")


def weights(run_dir):
    """{name: hash} of the last checkpoint of every stage, in however many files."""
    found = {}
    for path in sorted(glob.glob(os.path.join(run_dir, "checkpoints", "*", "latest", "*.safetensors"))):
        stage, group = path.split(os.sep)[-3], os.path.basename(path).split(".")[0].split("-0")[0]
        with open(path, "rb") as file:
            data = file.read()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[f"{stage}/{group}/{name}"] = hashlib.sha256(data[8 + size + begin:8 + size + end]).hexdigest()
    return found


def resume_and_compare(args, run_dir, ranks, log, expected):
    job = Job(args, ranks, ["resume", run_dir], log)
    code = job.wait(240)
    require(code == 0, f"resume on {ranks} ranks ended with {code}: {job.text()[-1500:]}")
    require(weights(run_dir) == expected, f"resume on {ranks} ranks: other weights than the undisturbed run's")


def other_count(ranks):
    return {2: 3, 3: 1, 4: 2}[ranks]


def lose_rank(args, run_dir, log, ranks, random_, expected, wanted, sig):
    victim = random_.randrange(ranks)
    job = Job(args, ranks, ["run", args.config, f"run_dir={run_dir}"], log)
    state = catch(job, run_dir, victim, wanted, random_.randrange(1, 4))
    sent = time.monotonic()
    os.kill(state["pid"], sig)
    code = job.wait(DEADLINE_S)
    took = time.monotonic() - sent
    with contextlib.suppress(ProcessLookupError):
        os.kill(state["pid"], signal.SIGKILL)  # one that was only stopped
    text = job.text()
    require(code != 0, f"exit code {code} after a rank was lost")
    said = re.findall(rf"rank {victim} \(pid {state['pid']} on [^)]*\)[^\n]*", text)
    require(said, f"no message names rank {victim} (pid {state['pid']}): {text[-1500:]}")
    require(re.search(r"phase '", text), "no message says in which phase: " + text[-1500:])
    resume_and_compare(args, run_dir, other_count(ranks), log + ".resume", expected)
    return took, f"victim {victim} in '{state['phase']}'; " + said[0]


def in_phase(name):
    return lambda now: now["phase"] == name


def in_all_reduce(now):
    return re.search(r"(all_reduce|all_to_all|reduce_scatter|all_gather) of '.*(begun|waits)", now["rest"]) and now["phase"] == "gradients"


def full_disk(args, run_dir, log, ranks, random_, expected):
    victim = random_.randrange(ranks)
    # A limit on the size of files: writes beyond it fail in this rank alone, as on a full disk.
    job = Job(args, ranks, ["run", args.config, f"run_dir={run_dir}"], log,
              {victim: ["bash", "-c", "trap '' XFSZ; ulimit -f 24; exec \"$@\"", "_"]})
    start = time.monotonic()
    code = job.wait(120)
    text = job.text()
    require(code == 1 or code != 0, f"exit code {code}")
    require(f"Rank {victim} of {ranks}" in text and ".safetensors" in text, f"no message names rank {victim} and the file: {text[-1500:]}")
    leftovers = [p for p in glob.glob(os.path.join(run_dir, "checkpoints", "*", ".step-*"))]
    require(not leftovers, f"a part of the checkpoint stays: {leftovers}")
    resume_and_compare(args, run_dir, other_count(ranks), log + ".resume", expected)
    return time.monotonic() - start, [line for line in text.splitlines() if ".safetensors" in line][0][:150]


def corrupted_shard(args, run_dir, log, ranks, random_, expected):
    job = Job(args, ranks, ["run", args.config, f"run_dir={run_dir}", "pipeline.1.steps=4", "--until", "rl"], log)
    require(job.wait(240) == 0, "the first run failed: " + job.text()[-800:])
    shutil.rmtree(run_dir)
    job = Job(args, ranks, ["run", args.config, f"run_dir={run_dir}"], log)
    victim = ranks - 1
    state = catch(job, run_dir, victim, lambda now: now["phase"] == "rollout" and os.path.isdir(os.path.join(run_dir, "checkpoints", "rl", "step-000004")), 0)
    os.kill(state["pid"], signal.SIGKILL)
    job.wait(DEADLINE_S)
    newest = max(glob.glob(os.path.join(run_dir, "checkpoints", "rl", "step-*")))
    shard = random_.choice(sorted(glob.glob(os.path.join(newest, "*.safetensors"))))
    with open(shard, "r+b") as file:
        file.seek(os.path.getsize(shard) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x40]))
    start = time.monotonic()
    resume_and_compare(args, run_dir, other_count(ranks), log + ".resume", expected)
    with open(log + ".resume", errors="replace") as file:
        text = file.read()
    require(os.path.basename(shard) in text, f"no message names {shard}: {text[-1500:]}")
    require("going on after step" in text, "the older checkpoint was not used")
    return time.monotonic() - start, [line for line in text.splitlines() if os.path.basename(shard) in line][0][-150:]


def two_jobs(args, run_dir, log, ranks, random_, expected):
    first = Job(args, ranks, ["run", args.config, f"run_dir={run_dir}"], log)
    catch(first, run_dir, 0, lambda now: now["phase"] in ("rollout", "backward"), random_.randrange(3))
    # All its ranks sleep meanwhile, and blame nobody for it: it would be over before the second has begun.
    pids = [catch(first, run_dir, rank, lambda now: True, 0)["pid"] for rank in range(ranks)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    try:
        second = Job(args, 2, ["resume", run_dir], log + ".second")
        code = second.wait(60)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    took = time.monotonic() - start
    require(code != 0 and "another process works in this run directory" in second.text(), f"second job: {code}: {second.text()[-800:]}")
    require(first.wait(240) == 0, "the first job was disturbed: " + first.text()[-800:])
    require(weights(run_dir) == expected, "the first job's weights were disturbed")
    return took, [line for line in second.text().splitlines() if "another process" in line][0][-120:]


def preemption(args, run_dir, log, ranks, random_, expected):
    job = Job(args, ranks, ["run", args.config, f"run_dir={run_dir}"], log)
    victim = random_.randrange(ranks)
    state = catch(job, run_dir, victim, in_phase("rollout"), random_.randrange(1, 4))
    start = time.monotonic()
    os.kill(state["pid"], signal.SIGTERM)  # to one rank: the others learn it from each other
    code = job.wait(DEADLINE_S)
    require(code == 143, f"exit code {code}, not 143: {job.text()[-800:]}")
    resume_and_compare(args, run_dir, other_count(ranks), log + ".resume", expected)
    return time.monotonic() - start, "exit code 143; checkpoint of the running step"


def restart(args, run_dir, log, ranks, random_, expected):
    """A rank is killed and nobody resumes by hand: --max-restarts does."""
    launch = " ".join([args.mpirun] + (["--allow-run-as-root"] if os.geteuid() == 0 else []) + ["--oversubscribe", "-n", str(ranks)])
    job = Job.__new__(Job)
    job.log = log
    with open(log, "wb") as out:
        job.process = subprocess.Popen([args.r1, "run", args.config, f"run_dir={run_dir}", "--launch", launch, "--max-restarts", "2"],
                                       stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
    state = catch(job, run_dir, random_.randrange(ranks), in_phase("backward"), random_.randrange(2, 6))
    start = time.monotonic()
    os.kill(state["pid"], signal.SIGKILL)
    code = job.wait(240)
    require(code == 0, f"exit code {code}: {job.text()[-1500:]}")
    require("restart 1 of 2" in job.text(), "no restart was said: " + job.text()[-800:])
    require(weights(run_dir) == expected, "other weights than the undisturbed run's")
    return time.monotonic() - start, [line for line in job.text().splitlines() if "restart 1 of 2" in line][0][-110:]


FAULTS = {
    "kill_rollout": lambda *a: lose_rank(*a, in_phase("rollout"), signal.SIGKILL),
    "kill_reward": lambda *a: lose_rank(*a, in_phase("reward"), signal.SIGKILL),
    "kill_backward": lambda *a: lose_rank(*a, in_phase("backward"), signal.SIGKILL),
    "kill_all_reduce": lambda *a: lose_rank(*a, in_all_reduce, signal.SIGKILL),
    "kill_checkpoint": lambda *a: lose_rank(*a, in_phase("checkpoint"), signal.SIGKILL),
    "stop": lambda *a: lose_rank(*a, in_phase("backward"), signal.SIGSTOP),
    "sigterm": preemption,
    "restart": restart,
    "full_disk": full_disk,
    "corrupted_shard": corrupted_shard,
    "two_jobs": two_jobs,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), default=list(FAULTS))
    parser.add_argument("--r1", default=os.path.join(ROOT, "build/release/src/apps/r1"))
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--work-dir")
    parser.add_argument("--table", help="write the results here as Markdown")
    args = parser.parse_args()
    work = args.work_dir or tempfile.mkdtemp(prefix="r1_faults_")
    os.makedirs(work, exist_ok=True)
    args.config = os.path.join(work, "faults.yaml")
    with open(args.config, "w") as file:
        file.write(CONFIG)
    reference = os.path.join(work, "undisturbed")
    shutil.rmtree(reference, ignore_errors=True)
    job = Job(args, 1, ["run", args.config, f"run_dir={reference}"], os.path.join(work, "undisturbed.log"))
    if job.wait(240) != 0:
        sys.exit("the undisturbed run failed:\n" + job.text()[-2000:])
    expected = weights(reference)
    rows, failed = [], 0
    for name in args.only:
        times, note, wrong = [], "", 0
        for i in range(args.times):
            ranks = 2 + i % 3
            run_dir, log = os.path.join(work, f"{name}-{i}"), os.path.join(work, f"{name}-{i}.log")
            shutil.rmtree(run_dir, ignore_errors=True)
            try:
                for attempt in range(8):
                    with contextlib.suppress(*([TooLate] if attempt < 7 else [])):
                        took, note = FAULTS[name](args, run_dir, log, ranks, random.Random(f"{name} {i} {attempt}"), expected)
                        break
                    shutil.rmtree(run_dir)
                times.append(took)
                print(f"{name} {i} ({ranks} ranks): {took:.1f} s; {note}", flush=True)
                shutil.rmtree(run_dir)
            except Failure as failure:
                wrong += 1
                print(f"{name} {i} ({ranks} ranks): FAILED: {failure}", flush=True)
        failed += wrong
        longest = f"{max(times):.1f}" if times else "-"
        rows.append(f"| {name} | {len(times)} of {args.times} | {longest} | {note.replace('|', '/')} |")
    table = "| fault | as expected | longest, s | what the last one said |\n|---|---|---|---|\n" + "\n".join(rows)
    print(table)
    if args.table:
        with open(args.table, "w") as file:
            file.write(table + "\n")
    if not args.work_dir and not failed:
        shutil.rmtree(work)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
