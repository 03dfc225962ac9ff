#include "r1/pipeline/bench_kernels.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"
#include "r1/ops/kernel_cases.h"
#include "r1/util/error.h"
#include "r1/util/progress.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

using torch::Tensor;
using Work = std::function<Tensor()>;

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x.size() % 2 == 1 ? x[x.size() / 2] : (x[x.size() / 2 - 1] + x[x.size() / 2]) / 2;
}

// Runs work and says how long it took: by the clock on a CPU, by events on the stream of a device.
class Timer {
 public:
  explicit Timer(at::Device device) : device_(device) {}

  void wait() const {
    if (device_.is_cuda()) torch::cuda::synchronize();
  }

  /// Seconds a call, of `calls` after another.
  double operator()(const Work& work, int64_t calls) const {
    if (!device_.is_cuda()) {
      const double start_s = monotonic_s();
      for (int64_t i = 0; i < calls; ++i) work();
      return (monotonic_s() - start_s) / static_cast<double>(calls);
    }
    const auto stream = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
    c10::Event begin(device_.type(), c10::EventFlag::BACKEND_DEFAULT), end(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
    begin.record(stream);
    for (int64_t i = 0; i < calls; ++i) work();
    end.record(stream);
    end.synchronize();
    return begin.elapsedTime(end) / 1e3 / static_cast<double>(calls);
  }

 private:
  at::Device device_;
};

struct Limits {
  double copy_bytes_per_s = 0, flop_per_s = 0;
};

// What the device does at best on large work: a copy of what no cache holds, and a product of random numbers.
Limits measure_limits(const Timer& timer, at::Device device) {
  const bool gpu = device.is_cuda();
  const auto options = torch::TensorOptions().device(device).dtype(gpu ? at::kBFloat16 : at::kFloat);
  const int64_t elements = gpu ? int64_t{1} << 30 : int64_t{1} << 26, n = gpu ? 8192 : 1024;
  const auto from = torch::ones({elements}, options);
  auto to = torch::empty_like(from);
  const auto a = torch::randn({n, n}, options), b = torch::randn({n, n}, options);
  const auto best = [&](const Work& work, int64_t calls) {
    timer(work, 2);
    double least = timer(work, calls);
    for (int i = 0; i < 4; ++i) least = std::min(least, timer(work, calls));
    return least;
  };
  Limits limits;
  limits.copy_bytes_per_s = 2.0 * static_cast<double>(from.nbytes()) / best([&] { return to.copy_(from); }, gpu ? 10 : 2);
  limits.flop_per_s = 2.0 * static_cast<double>(n * n * n) / best([&] { return a.mm(b.t()); }, gpu ? 10 : 4);
  return limits;
}

double difference(const Tensor& ours, const Tensor& plain) {
  if (!ours.defined() || ours.numel() == 0) return 0;
  const auto y = plain.detach().to(at::kFloat);
  return ((ours.detach().to(at::kFloat) - y).abs().max() / y.abs().max().clamp_min(1e-30)).item<double>();
}

nlohmann::json measure(const ops::KernelCaseMaker& maker, const Timer& timer, const Limits& limits, double seconds_per_row) {
  const auto c = maker.make();
  const double off = difference(c.ours(), c.plain());
  timer.wait();
  // A round of each takes a twelfth of the time: then there are about six.
  const auto calls_for = [&](const Work& work) {
    timer(work, 1);
    const double once_s = timer(work, 2);
    return std::clamp<int64_t>(static_cast<int64_t>(seconds_per_row / 12 / std::max(once_s, 1e-7)), 1, 1000);
  };
  const int64_t our_calls = calls_for(c.ours), plain_calls = calls_for(c.plain);
  std::vector<double> ours_s, plain_s, ratios;
  for (const double start_s = monotonic_s(); ours_s.size() < 3 || (ours_s.size() < 20 && monotonic_s() - start_s < seconds_per_row);) {
    ours_s.push_back(timer(c.ours, our_calls));
    plain_s.push_back(timer(c.plain, plain_calls));
    ratios.push_back(plain_s.back() / ours_s.back());
  }
  const double seconds = median(ours_s);
  nlohmann::json row{{"op", maker.op},
                     {"shape", maker.shape},
                     {"seconds", seconds},
                     {"gb_per_s", c.bytes / seconds / 1e9},
                     {"tflop_per_s", c.flop / seconds / 1e12},
                     {"share", std::max(c.bytes / limits.copy_bytes_per_s, c.flop / limits.flop_per_s) / seconds},
                     {"plain", c.plain_name},
                     {"plain_seconds", median(plain_s)},
                     {"ratio", median(ratios)},
                     {"rounds", ours_s.size()},
                     {"difference", off}};
  if (!(off <= 0.05)) row["error"] = cat("ours and ", c.plain_name, " differ by ", off, " of the largest value");
  return row;
}

at::Device device_of(const std::string& name) {
  const bool has_gpu = !ops::device_kernel_cases(at::kCUDA, ops::CaseSize::kModel).empty() && torch::cuda::is_available();
  if (name.empty()) return has_gpu ? at::kCUDA : at::kCPU;
  if (name == "cpu") return at::kCPU;
  if (name != "cuda") throw Error(cat("device '", name, "'; accepted: cpu, cuda"));
  if (!has_gpu) throw Error("device 'cuda': this program has no CUDA kernels or this machine no GPU; accepted here: cpu");
  return at::kCUDA;
}

}  // namespace

int64_t bench_kernels(const KernelBenchOptions& options, const std::function<void(const nlohmann::json&)>& row) {
  const auto device = device_of(options.device);
  auto cases = device.is_cuda() ? ops::device_kernel_cases(device, ops::CaseSize::kModel) : ops::cpu_kernel_cases(ops::CaseSize::kModel);
  std::string names;
  for (const auto& c : cases) {
    if (names.find(c.op) == std::string::npos) names += (names.empty() ? "" : ", ") + c.op;
  }
  std::erase_if(cases, [&](const auto& c) { return c.op.find(options.only) == std::string::npos; });
  if (cases.empty()) throw Error(cat("no operation is called '", options.only, "'; there are: ", names));

  torch::manual_seed(1);
  const Timer timer(device);
  const auto limits = measure_limits(timer, device);
  row({{"limits",
        {{"device", device.is_cuda() ? "cuda" : kernels::isa_name(kernels::cpu_isa())},
         {"threads", kernels::num_threads()},
         {"copy_gb_per_s", limits.copy_bytes_per_s / 1e9},
         {"product_tflop_per_s", limits.flop_per_s / 1e12}}}});
  int64_t failed = 0;
  for (const auto& maker : cases) {
    nlohmann::json result;
    try {
      result = measure(maker, timer, limits, options.seconds_per_row);
    } catch (const std::exception& error) {
      result = {{"op", maker.op}, {"shape", maker.shape}, {"error", std::string(error.what()).substr(0, 300)}};
    }
    failed += result.contains("error") ? 1 : 0;
    row(result);
  }
  return failed;
}

}  // namespace r1::pipeline
