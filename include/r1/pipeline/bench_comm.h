#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace r1::pipeline {

struct CommBenchOptions {
  std::string only;                    ///< collectives whose name contains it; empty: all
  int64_t min_bytes = 1 << 10, max_bytes = 256 << 20;
  double seconds_per_row = 1;          ///< of measuring, at least five rounds whatever it takes
  bool gpu = false;
};

/// Times every collective over the ranks that a launcher has started, float32, sizes from min_bytes times 4 up to max_bytes, each in
/// alternation with a plain loop over MPI's own blocking call. Rank 0 hands out one object at a time, as soon as it is known:
///
///   {"limits": {"ranks", "copy_gb_per_s"}}   bytes that a rank copies in memory a second while all ranks do; measured first
///   {"collective", "bytes", "seconds", "algorithm_gb_per_s", "bus_gb_per_s", "share", "plain_seconds", "ratio"}
///
/// As in nccl-tests, `bytes` is the whole tensor (of all_gather the output), algorithm_gb_per_s = bytes / seconds, and bus_gb_per_s is
/// that times 2(n-1)/n for all_reduce, (n-1)/n for reduce_scatter, all_gather and all_to_all, 1 for broadcast: what each rank receives
/// a second, whatever n is. seconds: the slowest rank's, median over rounds. share = bus_gb_per_s / copy_gb_per_s: on one machine
/// nothing is received without a copy. ratio: median over rounds of plain_seconds / seconds, above 1 where ours is faster; absent
/// where there is no plain loop. Throws Error for a single rank and for `only` that fits no collective.
void bench_comm(const CommBenchOptions& options, const std::function<void(const nlohmann::json&)>& row);

}  // namespace r1::pipeline
