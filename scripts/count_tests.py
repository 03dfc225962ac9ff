"""Prints 'N passed, N failed' for a JUnit file of ctest; exit code 1 when a test failed or none ran.

    count_tests.py build/release/tests.xml

A ctest entry is one test binary. Its GoogleTest or Python unittest cases are counted from its own closing lines; an entry
without them (a script, or a binary that crashed) counts as one.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree


def count_cases(output, entry_passed):
    """(passed, failed, skipped) of one ctest entry."""
    ran = [int(n) for n in re.findall(r"\[==========\] (\d+) tests? from .* ran\.", output)]
    ran_python = re.search(r"^Ran (\d+) tests? in ", output, re.MULTILINE)
    if ran_python and entry_passed:
        return int(ran_python.group(1)), 0, 0
    if not ran:
        return (1, 0, 0) if entry_passed else (0, 1, 0)
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) tests?\.", output))
    skipped = sum(int(n) for n in re.findall(r"\[  SKIPPED \] (\d+) tests?[.,]", output))
    failed = sum(ran) - passed - skipped
    if not entry_passed and failed == 0:
        failed = 1  # it printed a clean result and still exited with an error
    return passed, failed, skipped


def main(path):
    passed = failed = skipped = 0
    for entry in ElementTree.parse(path).getroot().iter("testcase"):
        output = entry.findtext("system-out") or ""
        counts = count_cases(output, entry.get("status") == "run")
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
        if counts[1]:
            print(f"failed: {entry.get('name')} ({counts[1]})")
    closing = f"{passed} passed, {failed} failed"
    print(closing + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
