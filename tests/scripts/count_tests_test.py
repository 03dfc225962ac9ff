"""Tests of scripts/count_tests.py on made-up results of ctest."""

import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/count_tests.py")
ALL_PASS = "[==========] 5 tests from 2 test suites ran. (1 ms total)\n[  PASSED  ] 5 tests.\n"
ONE_FAILS = "[  FAILED  ] Suite.name (0 ms)\n[==========] 5 tests from 2 test suites ran. (1 ms total)\n[  PASSED  ] 4 tests.\n"
ONE_SKIPPED = ("[==========] 3 tests from 1 test suite ran. (1 ms total)\n[  PASSED  ] 2 tests.\n[  SKIPPED ] 1 test.\n")
UNITTEST = ".....\nRan 7 tests in 0.1s\n\nOK\n"


def run(*entries):
    """(exit code, closing line) for ctest entries given as (status, output)."""
    cases = "".join(f'<testcase name="t{i}" status="{status}"><system-out>{output}</system-out></testcase>'
                    for i, (status, output) in enumerate(entries))
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(f"<testsuite>{cases}</testsuite>")
        file.flush()
        result = subprocess.run([sys.executable, SCRIPT, file.name], capture_output=True, text=True, check=False)
    return result.returncode, (result.stdout.splitlines() or [result.stderr])[-1]


class CountTestsTest(unittest.TestCase):
    def test_counts_cases_of_all_binaries(self):
        self.assertEqual(run(("run", ALL_PASS), ("run", ONE_SKIPPED)), (0, "7 passed, 0 failed, 1 skipped"))

    def test_a_failed_case_is_one_failure(self):
        self.assertEqual(run(("run", ALL_PASS), ("fail", ONE_FAILS)), (1, "9 passed, 1 failed"))

    def test_a_crash_or_a_timeout_is_a_failure(self):
        self.assertEqual(run(("run", ALL_PASS), ("fail", "Segmentation fault")), (1, "5 passed, 1 failed"))

    def test_a_clean_result_with_an_error_at_exit_is_a_failure(self):
        self.assertEqual(run(("fail", ALL_PASS)), (1, "5 passed, 1 failed"))

    def test_a_binary_that_could_not_start_is_a_failure(self):
        self.assertEqual(run(("notrun", "")), (1, "0 passed, 1 failed"))

    def test_python_tests_are_counted(self):
        self.assertEqual(run(("run", UNITTEST), ("run", "a script")), (0, "8 passed, 0 failed"))

    def test_no_test_at_all_is_an_error(self):
        self.assertEqual(run(), (1, "0 passed, 0 failed"))


if __name__ == "__main__":
    unittest.main()
