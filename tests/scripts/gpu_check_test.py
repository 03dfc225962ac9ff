"""Tests of scripts/gpu_check.sh in a made-up repository: nvidia-smi, nvcc, cmake and what it would build are stand-ins."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts")
R1 = """#!/usr/bin/env bash
case "$1 $2" in
  "bench kernels")
    echo '{"limits": {"device": "cuda", "threads": 2, "copy_gb_per_s": 3000.0, "product_tflop_per_s": 700.0}}'
    echo '{"op": "rms_norm", "shape": "8192 x 896", "seconds": 2e-5, "gb_per_s": 1468.0, "tflop_per_s": 0.0, "share": 0.49, "ratio": 2.5, "plain": "ATen"}'
    echo '{"op": "rope", "shape": "8192 x 14 x 64", "error": "an illegal address"}'
    exit KERNELS ;;
  "bench rollout") exec sleep 60 ;;
  "bench "*) echo '{"name": "'"$2"'", "tokens_per_s": 12345.0, "seconds": 0.5, "gflops_per_s": 5000.0}' ;;
esac
"""
CMAKE = """#!/usr/bin/env bash
echo "cmake $*"
[[ $1 == --build ]] || exit 0
mkdir -p build/gpu/src/apps build/gpu/tests/cuda
cp r1.stand_in build/gpu/src/apps/r1
for name in test_gpu_kernels test_gpu_nccl; do
  [[ " $* " == *" $name "* ]] || continue
  printf '#!/usr/bin/env bash\\necho "[  PASSED  ] 1 test."\\n' >build/gpu/tests/cuda/$name
  chmod +x build/gpu/tests/cuda/$name
done
chmod +x build/gpu/src/apps/r1
"""


class GpuCheckTest(unittest.TestCase):
    def setUp(self):
        self.root = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        os.makedirs(os.path.join(self.root, "scripts"))
        for script in ("gpu_check.sh", "gpu_summary.py", "progress.sh"):
            shutil.copy(os.path.join(SCRIPTS, script), os.path.join(self.root, "scripts", script))
        self.write(".cache/setup.env", "R1_TORCH_DIR=/torch\n")
        self.tool("nvidia-smi", "echo 'NVIDIA H100 80GB HBM3, 9.0, 81559 MiB, 580.1'")
        for name in ("nvcc", "ninja"):
            self.tool(name, "exit 0")
        self.tool("compute-sanitizer", "exit 9")
        self.write("bin/cmake", CMAKE)
        self.write("r1.stand_in", R1.replace("KERNELS", "1"))

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(full, 0o755)

    def tool(self, name, body):
        self.write("bin/" + name, "#!/usr/bin/env bash\n" + body + "\n")

    def check(self, *args):
        path = os.path.join(self.root, "bin") + ":" + os.environ["PATH"]
        result = subprocess.run(["bash", os.path.join(self.root, "scripts/gpu_check.sh"), *args], text=True, capture_output=True,
                                env={**os.environ, "PATH": path}, check=False)
        return result.returncode, result.stdout, result.stderr

    def results(self, folder="build/gpu_check"):
        with open(os.path.join(self.root, folder, "results.json"), encoding="utf-8") as file:
            return json.load(file)

    def test_what_fails_or_hangs_is_named_and_the_rest_is_kept(self):
        with open(os.path.join(self.root, "scripts/gpu_check.sh"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn('"$what-$shape" 30', text)
        self.write("scripts/gpu_check.sh", text.replace('"$what-$shape" 30', '"$what-$shape" 3'))
        code, out, _ = self.check()
        self.assertEqual(code, 1)
        steps = {step["name"]: step["result"] for step in self.results()["steps"]}
        self.assertEqual(steps["build"], "passed")
        self.assertEqual(steps["kernel_tests"], "passed")
        self.assertEqual(steps["memcheck"], "failed with exit code 9")
        self.assertEqual(steps["nccl_tests"], "passed")
        self.assertEqual(steps["kernels"], "failed with exit code 1")
        self.assertEqual(steps["rollout-moe"], "over its limit of 3 s")
        self.assertEqual(steps["grpo-moe"], "passed")
        self.assertEqual(self.results()["benches"]["train-moe"]["tokens_per_s"], 12345.0)
        self.assertIn("| rms_norm | 8192 x 896 | 20.0 | 1468 | 0.0 | 49 % | 2.50 | ATen |", out)
        self.assertIn("| rope | 8192 x 14 x 64 | failed: an illegal address |", out)
        self.assertIn("NVIDIA H100", out)
        with open(os.path.join(self.root, "build/gpu_check/build.log"), encoding="utf-8") as file:
            log = file.read()
        self.assertIn("-DCMAKE_CUDA_ARCHITECTURES=90a-real", log)
        self.assertIn("-DR1_TORCH_DIR=", log)

    def test_all_passed(self):
        self.tool("compute-sanitizer", "exit 0")
        self.write("r1.stand_in", R1.replace("KERNELS", "0").replace("exec sleep 60", "echo '{}' | sed 's/{}/{\"tokens_per_s\": 1.0, "
                                                                     "\"seconds\": 1.0, \"gflops_per_s\": 1.0}/'"))
        code, _, err = self.check("--output", os.path.join(self.root, "results"))
        self.assertEqual(code, 0, err)
        self.assertEqual(len(self.results("results")["benches"]), 6)

    def test_a_build_that_fails_ends_with_its_message(self):
        self.tool("cmake", "echo 'no such compiler'; exit 3")
        code, out, err = self.check()
        self.assertEqual(code, 1)
        self.assertIn("| build | failed with exit code 3 |", out)
        self.assertIn("no such compiler", err)

    def test_refuses_what_it_cannot_use(self):
        self.tool("nvidia-smi", "exit 9")
        self.assertIn("nvidia-smi shows no GPU here", self.check()[2])
        self.tool("nvidia-smi", "echo 'Tesla V100, 7.0, 16 GiB, 1'")
        code, _, err = self.check()
        self.assertEqual(code, 1)
        self.assertIn("accepted: compute capability 8.x or 9.0", err)
        self.assertIn("--minutes is 'soon'", self.check("--minutes", "soon")[2])
        self.assertIn("unknown option '--fast'", self.check("--fast")[2])


if __name__ == "__main__":
    unittest.main()
