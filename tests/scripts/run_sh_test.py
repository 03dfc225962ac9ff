"""Tests of scripts/run.sh and scripts/progress.sh in a made-up repository with stand-ins for set-up, build and r1."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts")
R1 = """#!/usr/bin/env bash
printf '%s|' "$PWD" "$@"
echo
[[ "$*" == *wait=1* ]] && exec sleep 20

exit 7
"""
CONFIGS = {
    "configs/tiny/r1.yaml": "seed: 1\n# model: data/cache/smollm2-135m-instruct.gguf\n",
    "configs/smollm2/base.yaml": "model:\n  path: data/cache/smollm2-135m-instruct.gguf\n",
    "configs/smollm2/grpo.yaml": "extends: 'base.yaml'  # shares the model\n",
    "configs/smollm2/again.yaml": "extends: ../smollm2/grpo.yaml\n",
}


class RunShTest(unittest.TestCase):
    def setUp(self):
        self.root = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in {**CONFIGS, "build/release/src/apps/r1": R1, "scripts/setup.sh": 'echo "setup: $*" >&2\n',
                           "scripts/build.sh": 'echo "build: $*" >&2\n'}.items():
            full = os.path.join(self.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        os.chmod(os.path.join(self.root, "build/release/src/apps/r1"), 0o755)
        for script in ("run.sh", "progress.sh"):
            shutil.copy(os.path.join(SCRIPTS, script), os.path.join(self.root, "scripts", script))

    def run_sh(self, *args, folder="."):
        result = subprocess.run(["bash", os.path.join(self.root, "scripts/run.sh"), *args], text=True, capture_output=True,
                                cwd=os.path.join(self.root, folder), check=False)
        return result.returncode, result.stdout, result.stderr

    def test_default_config_and_exit_code(self):
        code, out, err = self.run_sh()
        self.assertEqual((code, out), (7, f"{self.root}|run|configs/tiny/r1.yaml|\n"))
        self.assertIn("setup: \nbuild: release r1\n", err)

    def test_overrides_alone_keep_the_default_config(self):
        _, out, _ = self.run_sh("seed=3", "run.name=a b")
        self.assertEqual(out, f"{self.root}|run|configs/tiny/r1.yaml|seed=3|run.name=a b|\n")

    def test_config_relative_to_where_one_is_or_to_the_repository(self):
        _, out, _ = self.run_sh("grpo.yaml", "seed=3", folder="configs/smollm2")
        self.assertEqual(out, f"{self.root}|run|configs/smollm2/grpo.yaml|seed=3|\n")
        _, out, _ = self.run_sh("configs/smollm2/grpo.yaml", folder="scripts")
        self.assertEqual(out, f"{self.root}|run|configs/smollm2/grpo.yaml|\n")

    def test_model_is_fetched_only_when_asked_for(self):
        self.assertNotIn("--model", self.run_sh()[2])  # a comment does not ask
        for args in (["configs/smollm2/base.yaml"], ["configs/smollm2/grpo.yaml"], ["configs/smollm2/again.yaml"],
                     ["model.path=data/cache/smollm2-135m-instruct.gguf"]):
            self.assertIn("setup: --model smollm2\n", self.run_sh(*args)[2], args)

    def test_missing_config_names_those_there_are(self):
        code, out, err = self.run_sh("configs/tiny/r1_hero.yaml")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("configs/tiny/r1_hero.yaml", err)
        self.assertIn("configs/tiny/r1.yaml", err)

    def test_failed_setup_or_build_stops(self):
        for script in ("setup.sh", "build.sh"):
            with open(os.path.join(self.root, "scripts", script), "w", encoding="utf-8") as file:
                file.write("exit 1\n")
            self.assertEqual(self.run_sh()[:2], (1, ""))

    def test_a_signal_reaches_r1_itself(self):
        process = subprocess.Popen(["bash", os.path.join(self.root, "scripts/run.sh"), "wait=1"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        self.assertIn("wait=1", process.stdout.readline())
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=15), -signal.SIGTERM)
        process.stdout.close()
        self.assertLess(time.monotonic() - start, 10)


class ProgressTest(unittest.TestCase):
    def progress(self, command):
        script = f"source {SCRIPTS}/progress.sh; set -euo pipefail; with_progress label {command}"
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)

    def test_exit_code_and_lines_pass(self):
        result = self.progress("bash -c 'echo one; echo two >&2; printf last; exit 3'")
        self.assertEqual((result.returncode, result.stdout), (3, ""))
        self.assertEqual(result.stderr, "one\ntwo\nlast\n")
        self.assertEqual(self.progress("true").returncode, 0)
        self.assertEqual(self.progress("no-such-command").returncode, 127)

    def test_a_silent_step_says_that_it_runs(self):
        result = self.progress("sleep 9")
        self.assertIn("label: still running, 8 s", result.stderr)
        self.assertEqual(result.returncode, 0)


if __name__ == "__main__":
    unittest.main()
