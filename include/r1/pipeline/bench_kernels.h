#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace r1::pipeline {

struct KernelBenchOptions {
  std::string device;         ///< "cpu", "cuda", or empty: cuda where this program has a GPU
  std::string only;           ///< rows whose operation's name contains it; empty: all
  double seconds_per_row = 1;  ///< of measuring, at least three rounds whatever it takes
};

/// Times our operations at the shapes of real models, each in alternation with torch's way to the same result, on one device
/// (ops::cpu_kernel_cases, ops::device_kernel_cases). Hands out one object at a time, as soon as it is known:
///
///   {"limits": {"device", "copy_gb_per_s", "product_tflop_per_s", "threads"}}    measured first, in this run
///   {"op", "shape", "seconds", "gb_per_s", "tflop_per_s", "share", "plain", "plain_seconds", "ratio", "difference"}
///   {"op", "shape", "error"}                                                      a row that could not be made or run
///
/// seconds: median over rounds. share = max(bytes / copy_gb_per_s, flop / product_tflop_per_s) / seconds: of the time that no
/// implementation on this device could beat. ratio = median over rounds of plain_seconds / seconds, above 1 where ours is faster.
/// difference: largest |ours - plain| / largest |plain| of the first call. Returns how many rows failed; a difference above
/// 5 % fails too. Throws Error for a device that is not there and for `only` that fits no row.
int64_t bench_kernels(const KernelBenchOptions& options, const std::function<void(const nlohmann::json&)>& row);

}  // namespace r1::pipeline
