// maths_pipe [passes] < pairs.jsonl > verdicts.jsonl
//
// Each line in has "gold" and "answer"; each line out has the verdict and the microseconds of one comparison,
// the fastest of the passes (default 1). For scripts/compare_maths.py.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "r1/reward/maths.h"

int main(int argc, char** argv) {
  using clock = std::chrono::steady_clock;
  const int passes = argc > 1 ? std::stoi(argv[1]) : 1;
  for (std::string line; std::getline(std::cin, line);) {
    const auto pair = nlohmann::json::parse(line);
    const std::string gold = pair.at("gold"), answer = pair.at("answer");
    r1::Verdict verdict{};
    double best_us = 1e300;
    for (int pass = 0; pass < passes; ++pass) {
      const auto start = clock::now();
      verdict = r1::compare_maths(answer, gold);
      best_us = std::min(best_us, std::chrono::duration<double, std::micro>(clock::now() - start).count());
    }
    std::cout << nlohmann::json{{"verdict", r1::verdict_name(verdict)}, {"us", best_us}} << "\n";
  }
}
