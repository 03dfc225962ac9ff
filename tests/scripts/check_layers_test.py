"""Tests of scripts/check_layers.py on a small made-up tree, one fault at a time."""

import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))
import check_layers  # noqa: E402

GOOD_TREE = {
    "src/util/CMakeLists.txt": "r1_module(util SOURCES log.cpp strings.cpp LIBS spdlog::spdlog)  # DEPENDS algo\n",
    "src/util/log.cpp": '#include <spdlog/spdlog.h>\n#include "r1/util/log.h"\n',
    "src/util/strings.cpp": '#include "r1/util/log.h"\n',
    "include/r1/util/log.h": "#pragma once\n",
    "kernels/CMakeLists.txt": "r1_module(kernels SOURCES gemm/gemm.cpp)\n",
    "kernels/gemm/gemm.cpp": '#include "kernels/gemm/gemm.h"\n',
    "kernels/gemm/gemm.h": "#pragma once\n",
    "src/ops/CMakeLists.txt": "r1_module(ops\n  SOURCES ops.cpp\n  DEPENDS kernels util\n  TORCH)\n",
    "src/ops/ops.cpp": '#include "kernels/gemm/gemm.h"\n# include "r1/ops/ops.h"\n#include <torch/torch.h>\n',
    "include/r1/ops/ops.h": '#pragma once\n#include "r1/util/log.h"\n',
    "tests/ops/CMakeLists.txt": "r1_test(ops SOURCES ops_test.cpp)\n",
    "tests/ops/ops_test.cpp": '#include "r1/ops/ops.h"\n',
}


def faults_of(changes):
    """The faults of the good tree with some files replaced, added, or (None) left out."""
    tree = {path: text for path, text in {**GOOD_TREE, **changes}.items() if text is not None}
    with tempfile.TemporaryDirectory() as root:
        for path, text in tree.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        return check_layers.check(root)


class CheckLayersTest(unittest.TestCase):
    def assert_one_fault(self, changes, *words):
        faults = faults_of(changes)
        self.assertEqual(len(faults), 1, faults)
        for word in words:
            self.assertIn(word, faults[0])

    def test_good_tree_has_no_fault(self):
        self.assertEqual(faults_of({}), [])

    def test_missing_depends_names_the_file_and_the_module(self):
        self.assert_one_fault({"src/ops/CMakeLists.txt": "r1_module(ops SOURCES ops.cpp DEPENDS kernels TORCH)\n"},
                              "include/r1/ops/ops.h", "headers of util", "add util to DEPENDS")

    def test_missing_depends_on_kernels(self):
        self.assert_one_fault({"src/ops/CMakeLists.txt": "r1_module(ops SOURCES ops.cpp DEPENDS util TORCH)\n"},
                              "src/ops/ops.cpp", "headers of kernels")

    def test_superfluous_depends(self):
        self.assert_one_fault({"include/r1/ops/ops.h": "#pragma once\n"}, "src/ops/CMakeLists.txt", "take util out")

    def test_a_commented_include_does_not_count(self):
        self.assert_one_fault({"include/r1/ops/ops.h": '#pragma once\n// #include "r1/util/log.h"\n'}, "take util out")

    def test_layer_that_is_not_allowed(self):
        self.assert_one_fault({"kernels/CMakeLists.txt": "r1_module(kernels SOURCES gemm/gemm.cpp DEPENDS ops)\n",
                               "kernels/gemm/gemm.cpp": '#include "r1/ops/ops.h"\n'},
                              "kernels/gemm/gemm.cpp", "kernels must not depend on ops", "accepted: util")

    def test_unknown_module(self):
        self.assert_one_fault({"src/ops/ops.cpp": '#include "kernels/gemm/gemm.h"\n#include "r1/common/x.h"\n'},
                              "src/ops/ops.cpp", "no module common")
        self.assert_one_fault({"src/common/x.cpp": ""}, "src/common", "unknown module")

    def test_torch_needs_the_flag(self):
        self.assert_one_fault({"src/ops/CMakeLists.txt": "r1_module(ops SOURCES ops.cpp DEPENDS kernels util)\n"},
                              "src/ops/ops.cpp", "has no TORCH")

    def test_torch_free_modules_stay_so(self):
        self.assert_one_fault({"src/util/strings.cpp": "#include <ATen/ATen.h>\n"}, "src/util/strings.cpp", "must not use LibTorch")
        self.assert_one_fault({"src/util/CMakeLists.txt": "r1_module(util TORCH SOURCES log.cpp strings.cpp)\n"},
                              "util must not use LibTorch")

    def test_spdlog_outside_its_file(self):
        self.assert_one_fault({"src/util/strings.cpp": "#include <spdlog/fmt/fmt.h>\n"}, "src/util/strings.cpp", "src/util/log.cpp")

    def test_header_without_pragma_once(self):
        self.assert_one_fault({"include/r1/util/log.h": "// #pragma once\n"}, "include/r1/util/log.h", "#pragma once")

    def test_include_through_the_parent_folder(self):
        self.assert_one_fault({"src/util/strings.cpp": '#include "../ops/pages.h"\n'}, "src/util/strings.cpp", "private header")

    def test_forgotten_source_and_forgotten_test(self):
        self.assert_one_fault({"src/util/extra.cpp": ""}, "src/util/extra.cpp", "never built")
        self.assert_one_fault({"tests/ops/extra_test.cpp": ""}, "tests/ops/extra_test.cpp", "never built")
        self.assert_one_fault({"tests/util/log_test.cpp": ""}, "tests/util/log_test.cpp", "never built")

    def test_module_without_cmake(self):
        self.assert_one_fault({"include/r1/model/model.h": "#pragma once\n"}, "include/r1/model/model.h", "no CMakeLists.txt")

    def test_two_calls_of_r1_module(self):
        with self.assertRaises(SystemExit):
            faults_of({"src/ops/CMakeLists.txt": "r1_module(ops SOURCES ops.cpp)\nr1_module(ops SOURCES ops.cpp)\n"})

    def test_allowed_layers_have_no_cycle(self):
        order = []
        while len(order) < len(check_layers.ALLOWED):
            ready = [m for m, below in check_layers.ALLOWED.items() if m not in order and below <= set(order)]
            self.assertTrue(ready, "a cycle among the modules that are left")
            order += ready


if __name__ == "__main__":
    unittest.main()
