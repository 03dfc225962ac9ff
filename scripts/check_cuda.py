"""Compiles the CUDA kernels with nvcc for sm_80 and sm_90a and checks what ptxas says about them.

    check_cuda.py [--build build/cuda_check] [--write docs/kernels/cuda_resources.md] [file.cu ...]

Without files: all .cu files below kernels/. A file is compiled again only when it, a header of kernels/, nvcc or the options have
changed. Fails when a file does not compile, when a kernel spills registers or keeps an array in local memory, or when nothing was
compiled. Prints one line a file; --write also writes the table of registers and shared memory.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARCHITECTURES = {"sm_80": "compute_80", "sm_90a": "compute_90a"}
FLAGS = ["-std=c++20", "-O3", "-Xptxas", "-v", "-Xcompiler", "-Wall"]


def find_nvcc():
    for path in (os.path.join(os.environ.get("CUDA_HOME", "/nowhere"), "bin", "nvcc"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if path and os.access(path, os.X_OK):
            return path
    return None


def files_below(folder, ending):
    for path, folders, files in os.walk(os.path.join(ROOT, folder)):
        folders.sort()
        yield from (os.path.relpath(os.path.join(path, file), ROOT) for file in sorted(files) if file.endswith(ending))


def digest(nvcc, source):
    """Of all that the result depends on."""
    text = hashlib.sha256(subprocess.run([nvcc, "--version"], capture_output=True, check=True).stdout)
    for path in [source, *files_below("kernels", ".h")]:
        with open(os.path.join(ROOT, path), "rb") as file:
            text.update(path.encode() + b"\0" + file.read())
    text.update(json.dumps([FLAGS, ARCHITECTURES]).encode())
    return text.hexdigest()


def compile_one(nvcc, source, build):
    """(log of ptxas, seconds or None when nothing had to be done, exit code)"""
    name = source.replace("/", "_").removesuffix(".cu")
    log_path, key = os.path.join(build, name + ".log"), digest(nvcc, source)
    if os.path.exists(log_path):
        with open(log_path, encoding="utf-8") as file:
            if file.readline().strip() == key:
                return file.read(), None, 0
    start = time.monotonic()
    targets = [f"-gencode=arch={virtual},code={real}" for real, virtual in ARCHITECTURES.items()]
    run = subprocess.run([nvcc, *FLAGS, *targets, "-I", ROOT, "-I", os.path.join(ROOT, "include"), "-c", os.path.join(ROOT, source),
                          "-o", os.path.join(build, name + ".o")], capture_output=True, text=True, check=False)
    log = run.stdout + run.stderr
    if run.returncode == 0:
        with open(log_path + ".new", "w", encoding="utf-8") as file:
            file.write(key + "\n" + log)
        os.replace(log_path + ".new", log_path)
    return log, time.monotonic() - start, run.returncode


def demangled(names):
    tool = shutil.which("c++filt")
    if not tool or not names:
        return {name: name for name in names}
    lines = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()
    short = {}
    for name, line in zip(names, lines):
        line = re.sub(r"\(anonymous namespace\)::|r1::kernels::|cuda::|_GLOBAL__N__\w+::|^void ", "", line)
        depth = 0  # the parameter list starts at the first parenthesis outside template arguments
        for at, letter in enumerate(line):
            depth += (letter == "<") - (letter == ">")
            if letter == "(" and depth == 0 and at > 0:
                line = line[:at]
                break
        short[name] = re.sub(r"\((?:int|bool)\)", "", line)
    return short


def parse(log):
    """Rows {kernel, arch, registers, shared, spill, stack} of a log of ptxas -v."""
    rows = []
    for block in re.split(r"ptxas info\s*: Compiling entry function ", log)[1:]:
        head = re.match(r"'([^']+)' for '([^']+)'", block)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", block)
        used = re.search(r"Used (\d+) registers", block)
        shared = re.search(r"(\d+) bytes smem", block)
        if not (head and stack and used):
            raise SystemExit("check_cuda: ptxas -v prints something else than expected:\n" + block[:600])
        rows.append({"kernel": head.group(1), "arch": head.group(2), "registers": int(used.group(1)),
                     "shared": int(shared.group(1)) if shared else 0, "stack": int(stack.group(1)),
                     "spill": int(stack.group(2)) + int(stack.group(3))})
    names = demangled(sorted({row["kernel"] for row in rows}))
    for row in rows:
        row["kernel"] = names[row["kernel"]]
    return rows


def table(results):
    lines = ["# Registers and shared memory of the CUDA kernels", "",
             "Made by `python3 scripts/check_cuda.py --write docs/kernels/cuda_resources.md` from `ptxas -v` of CUDA "
             + results["version"] + ". Registers a thread, static shared",
             "memory a block in bytes; dynamic shared memory is asked for at launch and named at the head of each file. No kernel spills and none keeps",
             "an array in local memory; the test `cuda_compile` fails when that changes. This is what a compiler says: no GPU was asked.", ""]
    for source, rows in sorted(results["rows"].items()):
        lines += [f"## `{source}`", "| kernel | registers sm_80 | registers sm_90a | shared |", "|---|---|---|---|"]
        for kernel in sorted({row["kernel"] for row in rows}):
            of = {row["arch"]: row for row in rows if row["kernel"] == kernel}
            name = kernel.replace("|", "\\|")
            lines.append(f"| `{name}` | {of['sm_80']['registers']} | {of['sm_90a']['registers']} | {of['sm_90a']['shared']} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "cuda_check"))
    parser.add_argument("--write")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    nvcc = find_nvcc()
    if not nvcc:
        print("check_cuda: there is no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda; nothing was compiled")
        return 1
    version = re.search(r"release ([\d.]+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout)
    sources = arguments.files or list(files_below("kernels", ".cu"))
    os.makedirs(arguments.build, exist_ok=True)
    results, failed, start = {"version": version.group(1) if version else "?", "rows": {}}, 0, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        work = {source: pool.submit(compile_one, nvcc, source, arguments.build) for source in sources}
        for source, job in work.items():
            log, seconds, code = job.result()
            if code != 0:
                print(f"{source}: nvcc failed\n{log}")
                failed += 1
                continue
            rows = parse(log)
            results["rows"][source] = rows
            for row in rows:
                if row["spill"] or row["stack"]:
                    print(f"{source}: {row['kernel']} for {row['arch']}: {row['spill']} bytes of spills, {row['stack']} bytes of local "
                          f"memory with {row['registers']} registers; accepted: none. Give a thread less to hold, or index arrays by constants")
                    failed += 1
            most = max((row["registers"] for row in rows), default=0)
            took = "unchanged" if seconds is None else f"{seconds:.0f} s"
            print(f"{source}: {len(rows)} kernels, at most {most} registers ({took})", flush=True)
    count = sum(len(rows) for rows in results["rows"].values())
    print(f"check_cuda: {len(sources)} files, {count} kernels for {' and '.join(ARCHITECTURES)} with nvcc {results['version']}, "
          f"{failed} faults, {time.monotonic() - start:.0f} s")
    if arguments.write and not failed:
        with open(os.path.join(ROOT, arguments.write), "w", encoding="utf-8") as file:
            file.write(table(results))
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
