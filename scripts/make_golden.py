"""Makes the golden files that tests compare with, from PyPI packages of recorded versions.

    scripts/setup.sh --peers                                              # once: makes .venv-peers
    .venv-peers/bin/python scripts/make_golden.py [name ...]              # all of the table, or those named
    .venv-peers/bin/python scripts/make_golden.py tokenizer --vocab DIR --stories FILE   # needs full vocabularies
    .venv-peers/bin/python scripts/make_golden.py --check                 # holds goldens against a further implementation

Each is one script of scripts/golden/. The results are committed, so tests need no Python package. Running a script twice
writes the same bytes.
"""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

GOLDENS = {  # name: script and its arguments
    "algo": ["grpo_golden.py", "tests/golden/algo/grpo.json"],
    "deepseek": ["deepseek_golden.py", "tests/golden/model"],
    "grpo_step": ["grpo_step_golden.py", "tests/golden/grpo_step"],
    "maths": ["maths_golden.py", "tests/golden/maths"],
    "model": ["model_golden.py", "tests/golden/model"],
    "mtp": ["mtp_golden.py", "tests/golden/model"],
    "tensorboard": ["tensorboard_check.py", "--write"],
    "train": ["adamw_golden.py", "tests/golden/train/adamw.json"],
    "weights": ["weights_golden.py", "tests/golden/weights"],
}
ON_REQUEST = {"tokenizer": ["tokenizer_golden.py"]}  # these take further arguments
CHECKS = [["grpo_vs_trl.py", "tests/golden/algo/grpo.json"], ["tensorboard_check.py"]]


def run(command):
    print("scripts/golden/" + " ".join(command), flush=True)
    subprocess.run([sys.executable, os.path.join(ROOT, "scripts/golden", command[0]), *command[1:]], cwd=ROOT, check=True)


def main(arguments):
    known = {command[0] for command in [*GOLDENS.values(), *ON_REQUEST.values(), *CHECKS]}
    unlisted = [file for file in sorted(os.listdir(os.path.join(ROOT, "scripts/golden"))) if file.endswith(".py") and file not in known]
    if unlisted:
        sys.exit(f"scripts/golden/{unlisted[0]} is not in the tables of scripts/make_golden.py; add a line for it")
    if arguments == ["--check"]:
        commands = CHECKS
    elif arguments and arguments[0] in ON_REQUEST:
        commands = [ON_REQUEST[arguments[0]] + arguments[1:]]
    else:
        unknown = [name for name in arguments if name not in GOLDENS]
        if unknown:
            sys.exit(f"unknown golden '{unknown[0]}'; accepted: {', '.join([*GOLDENS, *ON_REQUEST])}")
        commands = [GOLDENS[name] for name in arguments or GOLDENS]
    for command in commands:
        try:
            run(command)
        except subprocess.CalledProcessError as error:
            sys.exit(f"scripts/golden/{command[0]} ended with exit code {error.returncode}; its message is above")


if __name__ == "__main__":
    main(sys.argv[1:])
