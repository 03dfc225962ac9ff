"""Makes the golden files that tests compare with, from PyPI packages of recorded versions.

    scripts/setup.sh --peers                                   # once: makes .venv-peers
    .venv-peers/bin/python scripts/make_golden.py [name ...]   # all, or those named

Each is one script of scripts/golden/ that gets the place it writes to. The results are committed, so tests need no Python
package. Running a script twice writes the same bytes.
"""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

GOLDENS = {  # name: (script, what it writes)
    "algo": ("grpo_golden.py", "tests/golden/algo/grpo.json"),
    "model": ("model_golden.py", "tests/golden/model"),
    "weights": ("weights_golden.py", "tests/golden/weights"),
}


def main(names):
    unknown = [name for name in names if name not in GOLDENS]
    if unknown:
        sys.exit(f"unknown golden '{unknown[0]}'; accepted: {', '.join(GOLDENS)}")
    unlisted = set(os.listdir(os.path.join(ROOT, "scripts/golden"))) - {script for script, _ in GOLDENS.values()}
    unlisted = sorted(file for file in unlisted if file.endswith(".py"))
    if unlisted:
        sys.exit(f"scripts/golden/{unlisted[0]} is not in the table of scripts/make_golden.py; add a line for it")
    for name in names or GOLDENS:
        script, target = GOLDENS[name]
        print(f"{target} from scripts/golden/{script}", flush=True)
        os.makedirs(os.path.dirname(os.path.join(ROOT, target)), exist_ok=True)
        subprocess.run([sys.executable, os.path.join(ROOT, "scripts/golden", script), target], cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
