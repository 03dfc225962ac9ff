#include "r1/reward/code.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <thread>

#include "r1/reward/reward.h"
#include "r1/reward/sandbox.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

/// Whether this machine allows a sandbox. Where it does not, the tests run with what is left, and say so.
bool sandboxed() {
  static const bool sandboxed = [] {
    try {
      const Sandbox sandbox;
      return true;
    } catch (const Error& error) {
      std::printf("%s\nso these tests run unsandboxed\n", error.what());
      return false;
    }
  }();
  return sandboxed;
}

CodeConfig config_of(CodeLanguage language, PartialCredit credit = PartialCredit::kAll) {
  CodeConfig config;
  config.language = language;
  config.timeout_s = 2;
  config.partial_credit = credit;
  config.unsandboxed = !sandboxed();
  return config;
}

CodeTask pairs(std::vector<CodeTask::Pair> tests) {
  CodeTask task;
  task.pairs = std::move(tests);
  return task;
}

CodeTask asserts(std::vector<std::string> tests) {
  CodeTask task;
  task.asserts = std::move(tests);
  return task;
}

constexpr const char* kSieve = R"(import sys
def primes(n):
    sieve = bytearray([1]) * (n + 1)
    sieve[0:2] = b'\0\0'
    for i in range(2, int(n ** 0.5) + 1):
        if sieve[i]:
            sieve[i*i::i] = bytes(len(range(i*i, n + 1, i)))
    return sum(sieve)
if __name__ == '__main__':
    for line in sys.stdin:
        print(primes(int(line)))
)";
const CodeTask kPrimes = pairs({{"10\n", "4\n"}, {"100\n1000\n", "25\n168"}, {"2\n", "1"}});

TEST(CodeText, LastMarkedBlockOutsideTheThinking) {
  constexpr auto kPython = CodeLanguage::kPython;
  EXPECT_EQ(extract_code("a\n```python\nprint(1)\n```\nb\n```python\nprint(2)\n```\n", kPython),
            "print(2)\n");
  EXPECT_EQ(extract_code("```py\nx\n```\n```cpp\ny\n```\n```\nz\n```", kPython), "x\n");
  EXPECT_EQ(extract_code("```cpp\nx\n```\n```C++\ny\n```", CodeLanguage::kCpp), "y\n");
  EXPECT_EQ(extract_code("```\nx\n```\n", kPython), "x\n");
  EXPECT_EQ(extract_code("<think>```python\nx\n```</think>no code", kPython), std::nullopt);
  EXPECT_EQ(extract_code("<think>a</think>```python\r\nx\r\n```", kPython), "x\r\n");
  EXPECT_EQ(extract_code("```python\nx\n```\n```python\ncut off", kPython), "x\n");
  EXPECT_EQ(extract_code("```python\nx = '''\n  ```\n", kPython), "x = '''\n");
  EXPECT_EQ(extract_code("```js\nx\n```", kPython), std::nullopt);
  EXPECT_EQ(extract_code("print(1)", kPython), std::nullopt);
  EXPECT_EQ(extract_code("```python\n```", kPython), "");
  EXPECT_EQ(extract_code("", kPython), std::nullopt);
}

TEST(CodeText, OutputsCompareByLinesAndWords) {
  EXPECT_TRUE(same_output("1 2\n3\n", "1 2\n3"));
  EXPECT_TRUE(same_output("1  2 \r\n3\n\n", "1 2\n3\n"));
  EXPECT_TRUE(same_output("", "\n"));
  EXPECT_FALSE(same_output("1\n2", "1 2"));
  EXPECT_FALSE(same_output("1 2", "1"));
  EXPECT_FALSE(same_output("", "1"));
  EXPECT_FALSE(same_output("1\n\n2", "1\n2"));
  EXPECT_FALSE(same_output("0.30000001", "0.3"));
  EXPECT_TRUE(same_output("0.30000001", "0.3", 1e-6));
  EXPECT_TRUE(same_output("1000001", "1000000", 1e-5));
  EXPECT_FALSE(same_output("1000001", "1000000", 1e-7));
  EXPECT_FALSE(same_output("nan", "1", 1e-6));
  EXPECT_FALSE(same_output("inf", "1", 0.5));
  EXPECT_TRUE(same_output("x +1.0", "x 1", 1e-9));
}

TEST(CodeText, TasksAreReadOrRefused) {
  const auto task = code_task({{"tests", {{{"stdin", "1"}, {"stdout", "2"}}}}});
  ASSERT_TRUE(task);
  EXPECT_EQ(task->pairs[0].output, "2");
  EXPECT_EQ(code_task({{"asserts", "assert 1"}})->asserts.size(), 1u);
  EXPECT_EQ(code_task({{"asserts", {"assert 1", "assert 2"}}})->asserts.size(), 2u);
  for (const nlohmann::json& broken :
       {nlohmann::json(), nlohmann::json{{"tests", nlohmann::json::array()}}, nlohmann::json{{"tests", "x"}},
        nlohmann::json{{"tests", {{{"stdin", "1"}}}}},
        nlohmann::json{{"tests", {{{"stdin", 1}, {"stdout", 2}}}}}, nlohmann::json{{"asserts", 3}},
        nlohmann::json{{"asserts", {1}}}, nlohmann::json{{"asserts", nlohmann::json::array()}},
        nlohmann::json{{"asserts", "assert 1"}, {"tests", nlohmann::json::array()}}})
    EXPECT_FALSE(code_task(broken)) << broken;
}

TEST(CodePython, StdinTests) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython));
  const auto right = verifier.check(kSieve, kPrimes);
  EXPECT_EQ(right.verdict, Verdict::kRight) << right.detail;
  EXPECT_EQ(right.passed, 3);
  EXPECT_EQ(right.value, 1);

  const auto wrong = verifier.check("print(4)", kPrimes);
  EXPECT_EQ(wrong.verdict, Verdict::kWrong);
  EXPECT_EQ(wrong.passed, 1);
  EXPECT_EQ(wrong.value, 0);
  EXPECT_EQ(wrong.detail, "test 2: another output");

  EXPECT_EQ(verifier.check("print(4", kPrimes).verdict, Verdict::kWrong);
  EXPECT_NE(verifier.check("print(4", kPrimes).detail.find("SyntaxError"), std::string::npos);
  EXPECT_NE(verifier.check("1/0", kPrimes).detail.find("ZeroDivisionError"), std::string::npos);
  EXPECT_EQ(verifier.check("print(4); raise SystemExit(1)", kPrimes).passed, 0);
  EXPECT_EQ(verifier.check("", kPrimes).verdict, Verdict::kWrong);
  EXPECT_EQ(verifier.check(std::string("\0\xff", 2), kPrimes).verdict, Verdict::kWrong);
}

TEST(CodePython, WhatSolutionsUseWorks) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython));
  for (const char* program :
       {"print(input())", "import sys\ninput = sys.stdin.readline\nprint(input().strip())",
        "print(open(0).read().strip())", "import os\nprint(os.read(0, 100).decode())",
        "print(input()); exit()", "print(input()); quit(0)",
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nassert "
        "f(20000) == 20000\nprint(input())",
        "import threading, sys\ndef main(): print(input())\nthreading.stack_size(1 << 26)\nt = "
        "threading.Thread(target=main)\nt.start()\nt.join()",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n  x: int\nprint(input() if A(1).x else 0)",
        "import asyncio\nasync def f(): return input()\nprint(asyncio.run(f()))",
        "from multiprocessing import Pool\ndef f(x): return x\nif __name__ == '__main__':\n  with Pool(2) as "
        "p: assert p.map(f, [1, 2]) == [1, 2]\n  print(input())",
        "import subprocess\nprint(subprocess.run(['cat'], capture_output=True, text=True).stdout)",
        "import tempfile\nwith tempfile.TemporaryFile('w+') as f:\n  f.write(input()); f.seek(0); "
        "print(f.read())",
        "import atexit\natexit.register(lambda: print(x))\nx = input()",
        "from fractions import Fraction\nfrom decimal import Decimal\nimport random, heapq, re, json, "
        "datetime, statistics\nprint(input())"}) {
    const auto text = std::string_view(program);
    if (!sandboxed() && (text.find("subprocess") != text.npos || text.find("multiprocessing") != text.npos))
      continue;
    const auto result = verifier.check(program, pairs({{"42\n", "42"}, {"43\n", "43"}}));
    EXPECT_EQ(result.verdict, Verdict::kRight) << program << "\n" << result.detail;
  }
}

TEST(CodePython, PartialCredit) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython, PartialCredit::kFraction));
  const auto result = verifier.check("print(4)", pairs({{"", "4"}, {"", "5"}, {"", "4"}, {"", "6"}}));
  EXPECT_EQ(result.verdict, Verdict::kWrong);
  EXPECT_EQ(result.value, 0.5);
  const auto slow = verifier.check("n = int(input())\nwhile n > 2: pass\nprint(n)",
                                   pairs({{"1", "1"}, {"3", "3"}, {"2", "2"}, {"4", "4"}, {"1", "1"}}));
  EXPECT_EQ(slow.verdict, Verdict::kTimedOut);
  EXPECT_EQ(slow.passed, 2) << "after the second time-out the rest counts as failed";
  EXPECT_EQ(slow.value, 0.4);
}

TEST(CodePython, AssertTests) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython, PartialCredit::kFraction));
  const CodeTask task = asserts(
      {"assert square(3) == 9", "assert square(-2) == 4\nassert square(0) == 0", "assert square(5) == 25"});
  EXPECT_EQ(verifier.check("def square(x):\n  return x * x\nprint('noise')", task).verdict, Verdict::kRight);
  EXPECT_EQ(verifier.check("def square(x):\n  return 9", task).value, 1.0 / 3);
  EXPECT_EQ(
      verifier.check("if __name__ == '__main__':\n  input()\ndef square(x): return x * x", task).verdict,
      Verdict::kRight);
  EXPECT_EQ(verifier.check("square = 3", task).verdict, Verdict::kWrong);
  EXPECT_EQ(verifier.check("def square(x):\n  while True: pass", asserts({"assert square(3) == 9"})).verdict,
            Verdict::kTimedOut);
  const auto broken = verifier.check("def square(x): return 9", asserts({"assert square(3 == 9"}));
  EXPECT_EQ(broken.verdict, Verdict::kGoldUnreadable);
}

TEST(CodePython, NoSandboxMeansARefusal) {
  if (sandboxed()) return;  // Sandbox.RefusesToRunWithoutIsolationUnlessTold
  EXPECT_THROW(CodeVerifier(CodeConfig{}), Error);
}

/// None of these computes anything; each tries to look as if it had.
TEST(CodePython, FakedSuccessIsNoSuccess) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython));
  for (const char* program :
       {"import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit",
        "exit()",
        "print('OK'); print('passed'); exit(0)",
        "print(input()); exit(0)",
        "import sys; print(sys.stdin.read(), end=''); sys.exit(0)",
        "def square(x):\n  import os; os._exit(0)",
        "def square(x):\n  raise SystemExit(0)",
        "import builtins\nbuiltins.AssertionError = SystemExit\ndef square(x): return 0",
        "import os\nos.fork = None\ndef square(x): return 0",
        "import sys\nsys.excepthook = lambda *a: None\ndef square(x): return 0",
        "import os\ndef leave(code): os._exit(0)\nimport sys\nsys.exit = leave\ndef square(x): return 0",
        "import atexit, os\natexit.register(os._exit, 0)\ndef square(x): return 0",
        "import os\nif os.fork() == 0: os._exit(0)\nos._exit(0)",
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
        "import os\nos.kill(-1, 9)",
        "import os\nfor fd in range(4, 300):\n  try: os.write(fd, b'0 0 0')\n  except OSError: "
        "pass\nos._exit(0)",
        "import sys, threading\nthreading.Thread(target=lambda: exit(0)).start()\ndef square(x): return 0",
        "import os\nos.close(1); os.open('/dev/null', os.O_RDWR)\ndef square(x): return 0",
        "compile = exec = lambda *a: None\nimport builtins\nbuiltins.exec = builtins.compile = lambda *a: "
        "None\ndef square(x): return 0"}) {
    const auto result = verifier.check(program, asserts({"assert square(3) == 9"}));
    EXPECT_NE(result.verdict, Verdict::kRight) << program;
    EXPECT_NE(result.verdict, Verdict::kGoldUnreadable) << program;
    EXPECT_EQ(result.value, 0) << program;
  }
}

TEST(CodePython, ExpectedOutputIsNowhereInTheSandbox) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython));
  const auto result = verifier.check(R"(import os, gc
for folder, _, names in os.walk('/tmp'):
    for name in names:
        for line in open(folder + '/' + name, errors='replace'):
            if line.startswith('expected'): print(line)
for text in [o for o in gc.get_objects() if isinstance(o, str)]:
    if text.startswith('expected'): print(text)
for name, value in os.environ.items():
    if value.startswith('expected'): print(value)
)",
                                     pairs({{"", "expected_7351"}}));
  EXPECT_EQ(result.verdict, Verdict::kWrong);
}

TEST(CodePython, LaterTestsSurviveAKilledForkServer) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython, PartialCredit::kFraction));
  const auto result =
      verifier.check("import os\nn = int(input())\nif n == 2: os.kill(os.getppid(), 9)\nprint(n)",
                     pairs({{"1", "1"}, {"2", "2"}, {"3", "3"}, {"4", "4"}}));
  EXPECT_GE(result.passed, 3) << result.detail;
}

/// The first test leaves modules behind, named as those of the fork server's, and kills it; the next fork
/// server must not import them. This one would take each test's token out of its pipe.
TEST(CodePython, FilesLeftBehindDoNotReachTheNextForkServer) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython, PartialCredit::kFraction));
  const auto result =
      verifier.check(R"python(
import os
for name in ('os', '_socket', 'socket', 'builtins', '_sitebuiltins', 'collections', 'sitecustomize'):
    with open(name + '.py', 'w') as file:
        file.write("""
import posix, sys
sys.path = [p for p in sys.path if p]
del sys.modules[__name__]
import _socket
s = _socket.socket(fileno=4)
while True:
    message, parts, _, _ = s.recvmsg(1, 64)
    fds = memoryview(parts[0][2]).cast('i').tolist()
    posix.write(fds[1], posix.read(fds[3], 1 << 20)[-32:])
    for fd in fds: posix.close(fd)
    s.send(b'0 0 0')
""")
os.kill(os.getppid(), 9)
os._exit(0)
)python",
                     asserts({"assert square(3) == 9", "assert square(3) == 9", "assert square(3) == 9"}));
  EXPECT_EQ(result.passed, 0);
}

TEST(CodePython, ThreadsCheckSideBySide) {
  const CodeVerifier verifier(config_of(CodeLanguage::kPython));
  std::vector<std::thread> threads;
  std::vector<int> right(4, 0);
  for (size_t t = 0; t < right.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        const auto text = std::to_string(100 * t + size_t(i));
        right[t] +=
            verifier.check("print(int(input()) * 2)", pairs({{text, std::to_string(2 * std::stoi(text))}}))
                .value == 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, std::vector<int>(4, 5));
}

constexpr const char* kCppSquare =
    "#include <iostream>\nint square(int x) { return x * x; }\n"
    "int main() { int n; while (std::cin >> n) std::cout << square(n) << '\\n'; }\n";

TEST(CodeCpp, StdinTests) {
  const CodeVerifier verifier(config_of(CodeLanguage::kCpp));
  const CodeTask squares = pairs({{"3\n", "9"}, {"1 2 3", "1\n4\n9\n"}});
  const auto right = verifier.check(kCppSquare, squares);
  EXPECT_EQ(right.verdict, Verdict::kRight) << right.detail;
  EXPECT_EQ(right.passed, 2);
  const auto broken = verifier.check("int main() { return x; }", squares);
  EXPECT_EQ(broken.verdict, Verdict::kWrong);
  EXPECT_NE(broken.detail.find("does not compile"), std::string::npos);
  EXPECT_EQ(verifier.check("int main() { for (;;) {} }", squares).verdict, Verdict::kTimedOut);
  EXPECT_EQ(verifier.check("int main() { __builtin_trap(); }", squares).verdict, Verdict::kWrong);
}

TEST(CodeCpp, AssertTests) {
  const CodeVerifier verifier(config_of(CodeLanguage::kCpp, PartialCredit::kFraction));
  const CodeTask task =
      asserts({"int main() { assert(square(3) == 9); }", "int main() { assert(square(2) == 4); return 0; }"});
  const auto right = verifier.check(kCppSquare, task);
  EXPECT_EQ(right.verdict, Verdict::kRight) << right.detail;
  EXPECT_EQ(verifier.check("int square(int x) { return 9; }", task).value, 0.5);
  for (const char* program :
       {"#include <cstdlib>\nint square(int x) { std::exit(0); }",
        "#include <unistd.h>\nint square(int x) { _exit(0); }",
        "#include <cstdlib>\nstruct A { A() { std::_Exit(0); } } a; int square(int) { return 0; }",
        "#define NDEBUG\n#include <cassert>\nint square(int) { return 0; }",
        "int square(int) { return 0; } int main() { return 0; }",
        "#include <iostream>\nint square(int) { std::string s; std::cin >> s; std::cout << s; std::exit(0); "
        "}"})
    EXPECT_EQ(verifier.check(program, task).value, 0) << program;
}

RewardConfig reward_config(const std::string& part) {
  return RewardConfig::parse(
      ConfigNode::parse_text("reward: {parts: {code: " + part + "}}", "test.yaml").child("reward"));
}

TEST(CodeReward, PartOfAReward) {
  const Reward reward(
      reward_config(cat("{kind: code, language: python, timeout_s: 2, partial_credit: fraction, weight: 2",
                        sandboxed() ? "" : ", unsandboxed: true", "}")));
  const nlohmann::json extra = {
      {"tests", {{{"stdin", "2"}, {"stdout", "4"}}, {{"stdin", "3"}, {"stdout", "9"}}}}};
  const auto score = [&](const std::string& completion, const nlohmann::json& task) {
    return reward.score({"", completion, "", task});
  };
  EXPECT_EQ(score("<think>hm</think>\n```python\nprint(int(input()) ** 2)\n```", extra).total, 2);
  const auto half = score("```python\nprint(4)\n```", extra);
  EXPECT_EQ(half.total, 1);
  EXPECT_EQ(half.parts[0].second, 0.5);
  EXPECT_EQ(half.verdict, Verdict::kWrong);
  EXPECT_EQ(half.extracted, "print(4)\n");
  EXPECT_EQ(score("no code", extra).verdict, Verdict::kAnswerUnreadable);
  EXPECT_EQ(score("```python\nprint(4)\n```", {}).verdict, Verdict::kGoldUnreadable);
  EXPECT_TRUE(std::isnan(score("```python\nprint(4)\n```", {}).total));
  const auto slow = score("```python\nwhile True: pass\n```", extra);
  EXPECT_EQ(slow.verdict, Verdict::kTimedOut);
  EXPECT_EQ(slow.total, 0);
  EXPECT_STREQ(verdict_name(slow.verdict), "timed_out");
}

TEST(CodeReward, BadKeysNamePlaceAndRemedy) {
  for (const auto& [part, word] :
       std::vector<std::pair<std::string, std::string>>{{"{kind: code, language: rust}", "python"},
                                                        {"{kind: code, timeout_s: 0}", "0.01"},
                                                        {"{kind: code, memory_mb: 1}", "32"},
                                                        {"{kind: code, partial_credit: some}", "fraction"},
                                                        {"{kind: code, tolerance: -1}", "tolerance"},
                                                        {"{kind: code, extract: boxed}", "extract"}}) {
    try {
      reward_config(part);
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace r1
