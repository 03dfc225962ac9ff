// code_speed [solutions]
//
// Checks ten Python solutions of contests and textbooks in turn, 3 to 5 tests each, on one thread, and prints
// solutions a minute and core: by CPU seconds of this process and all that it started, which a busy machine
// changes little, and by the clock. docs/code_sandbox.md has the figure.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "r1/reward/code.h"

namespace r1 {
namespace {

struct Solution {
  const char* code;
  CodeTask task;
};

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

/// What contest and textbook problems look like: 3 to 10 tests each, the usual imports.
std::vector<Solution> solutions() {
  return {
      {"a, b = map(int, input().split())\nprint(a + b)\n",
       pairs({{"1 2", "3"}, {"-5 5", "0"}, {"1000000000 1", "1000000001"}, {"7 8", "15"}, {"0 0", "0"}})},
      {"import sys\nfrom collections import deque\n"
       "def main():\n    data = sys.stdin.read().split()\n    h, w = int(data[0]), int(data[1])\n    grid = "
       "data[2:2 + h]\n"
       "    dist = [[-1] * w for _ in range(h)]\n    dist[0][0] = 0\n    queue = deque([(0, 0)])\n    while "
       "queue:\n        y, x = queue.popleft()\n"
       "        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):\n            ny, nx = y + dy, x + dx\n"
       "            if 0 <= ny < h and 0 <= nx < w and grid[ny][nx] == '.' and dist[ny][nx] < 0:\n"
       "                dist[ny][nx] = dist[y][x] + 1\n                queue.append((ny, nx))\n    "
       "print(dist[h - 1][w - 1])\nmain()\n",
       pairs({{"3 3\n...\n.#.\n...\n", "4"},
              {"2 2\n.#\n#.\n", "-1"},
              {"1 5\n.....\n", "4"},
              {"4 1\n.\n.\n.\n.\n", "3"}})},
      {"import heapq\nimport sys\ninput = sys.stdin.readline\nn, m = map(int, input().split())\ngraph = [[] "
       "for _ in range(n)]\n"
       "for _ in range(m):\n    a, b, c = map(int, input().split())\n    graph[a].append((b, c))\n    "
       "graph[b].append((a, c))\n"
       "dist = [float('inf')] * n\ndist[0] = 0\nheap = [(0, 0)]\nwhile heap:\n    d, v = "
       "heapq.heappop(heap)\n    if d > dist[v]:\n        continue\n"
       "    for u, c in graph[v]:\n        if d + c < dist[u]:\n            dist[u] = d + c\n            "
       "heapq.heappush(heap, (d + c, u))\n"
       "print(*dist)\n",
       pairs({{"3 3\n0 1 4\n1 2 1\n0 2 9\n", "0 4 5"},
              {"2 1\n0 1 7\n", "0 7"},
              {"1 0\n", "0"},
              {"4 4\n0 1 1\n1 2 1\n2 3 1\n0 3 9\n", "0 1 2 3"}})},
      {"from functools import lru_cache\n@lru_cache(None)\ndef ways(n, k):\n    if n == 0:\n        return "
       "1\n    if n < 0 or k == 0:\n        return 0\n"
       "    return ways(n - k, k) + ways(n, k - 1)\nn = int(input())\nprint(ways(n, n))\n",
       pairs({{"1", "1"}, {"5", "7"}, {"10", "42"}, {"50", "204226"}, {"100", "190569292"}})},
      {"import bisect\ninput()\ntails = []\nfor x in map(int, input().split()):\n    i = "
       "bisect.bisect_left(tails, x)\n    tails[i:i + 1] = [x]\nprint(len(tails))\n",
       pairs({{"6\n5 1 4 2 3 9\n", "4"}, {"1\n1\n", "1"}, {"3\n3 2 1\n", "1"}})},
      {"import re\nfrom collections import Counter\nwords = re.findall(r'[a-z]+', input().lower())\nfor "
       "word, count in sorted(Counter(words).items()):\n    print(word, count)\n",
       pairs({{"The cat, the dog.", "cat 1\ndog 1\nthe 2"}, {"a A a", "a 3"}, {"x", "x 1"}})},
      {"from typing import List\nimport math\ndef has_close_elements(numbers: List[float], threshold: float) "
       "-> bool:\n"
       "    numbers = sorted(numbers)\n    return any(b - a < threshold for a, b in zip(numbers, "
       "numbers[1:]))\n",
       asserts({"assert has_close_elements([1.0, 2.0, 3.9, 4.0], 0.3)\nassert not has_close_elements([1.0, "
                "2.0, 3.0], 0.5)"})},
      {"def is_palindrome(text):\n    text = ''.join(c.lower() for c in text if c.isalnum())\n    return "
       "text == text[::-1]\n",
       asserts({"assert is_palindrome('A man, a plan, a canal: Panama')", "assert not is_palindrome('ab')",
                "assert is_palindrome('')"})},
      {"import itertools\ndef permutations_sum(values, target):\n    return sum(1 for r in range(len(values) "
       "+ 1) for c in itertools.combinations(values, r) if sum(c) == target)\n",
       asserts({"assert permutations_sum([1, 2, 3, 4], 5) == 2\nassert permutations_sum([], 0) == 1"})},
      {"n = int(input())\nwhile n > 1:\n    print(n, end=' ')\n    n = n // 2 if n % 2 == 0 else 3 * n + "
       "1\nprint(1)\n",
       pairs({{"6", "6 3 10 5 16 8 4 2 1"}, {"1", "1"}, {"8", "8 4 2 1"}})},
  };
}

double cpu_seconds(int who) {
  rusage use = {};
  getrusage(who, &use);
  return double(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         1e-6 * double(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

/// The number of tests run. The verifier ends with it, so that its servers' CPU seconds are counted.
int64_t check(int num_solutions) {
  const auto all = solutions();
  const CodeVerifier verifier(CodeConfig{});
  int64_t tests = 0;
  for (int i = 0; i < num_solutions; ++i) {
    const auto& solution = all[size_t(i) % all.size()];
    const auto result = verifier.check(solution.code, solution.task);
    if (result.verdict != Verdict::kRight)
      throw std::runtime_error(std::string("a right solution was not accepted: ") + result.detail + "\n" +
                               solution.code);
    tests += result.tests;
  }
  return tests;
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) {
  try {
    const int num_solutions = argc > 1 ? std::atoi(argv[1]) : 200;
    const auto start = std::chrono::steady_clock::now();
    const int64_t tests = r1::check(num_solutions);
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double cpu = r1::cpu_seconds(RUSAGE_SELF) + r1::cpu_seconds(RUSAGE_CHILDREN);
    std::printf("%d solutions, %lld tests, one at a time: %.1f s, %.1f CPU s\n", num_solutions,
                (long long)tests, wall, cpu);
    std::printf("  %.0f solutions a minute by the clock, %.0f a CPU minute; %.1f ms each, %.1f ms of CPU\n",
                60 * num_solutions / wall, 60 * num_solutions / cpu, 1000 * wall / num_solutions,
                1000 * cpu / num_solutions);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "code_speed: %s\n", error.what());
    return 1;
  }
}
