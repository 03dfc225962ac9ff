#include "r1/pipeline/bench_comm.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>

#include "r1/dist/launch.h"
#include "r1/dist/plain_mpi.h"
#include "r1/util/error.h"
#include "r1/util/progress.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

using dist::Communicator;

const char* const kCollectives[] = {"all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast"};

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x.size() % 2 == 1 ? x[x.size() / 2] : (x[x.size() / 2 - 1] + x[x.size() / 2]) / 2;
}

double slowest(Communicator& comm, double seconds) {
  const auto x = torch::full({1}, seconds, torch::TensorOptions().dtype(torch::kDouble).device(comm.device()));
  comm.all_reduce(x, dist::Reduce::kMax, "times").wait();
  return x.item<double>();  // sync: the figure is printed
}

// One collective of one size.
struct Row {
  Row(Communicator& comm, const std::string& name, int64_t bytes) : comm(comm), name(name) {
    const int64_t n = comm.size();
    const auto options = torch::TensorOptions().device(comm.device());
    const int64_t part = std::max<int64_t>(1, bytes / 4 / n);
    elements = part * n;
    parts.assign(n, part);
    const bool gather = name == "all_gather", scatter = name == "reduce_scatter";
    in = torch::zeros({gather ? part : elements}, options);
    if (gather || scatter || name == "all_to_all") out = torch::zeros({scatter ? part : elements}, options);
  }

  void call() {
    if (name == "all_reduce") comm.all_reduce(in, dist::Reduce::kSum, name).wait();
    if (name == "reduce_scatter") comm.reduce_scatter(in, parts, out, name).wait();
    if (name == "all_gather") comm.all_gather(in, parts, out, name).wait();
    if (name == "all_to_all") comm.all_to_all(in, parts, out, parts, name).wait();
    if (name == "broadcast") comm.broadcast(in, 0, name).wait();
  }

  double ours(int64_t calls) {
    comm.barrier("before ours");
    const double start_s = monotonic_s();
    for (int64_t i = 0; i < calls; ++i) call();
    if (comm.device().is_cuda()) torch::cuda::synchronize();
    return slowest(comm, (monotonic_s() - start_s) / static_cast<double>(calls));
  }

  /// Negative: there is none.
  double plain(int64_t calls) {
    comm.barrier("before plain");
    const auto seconds = dist::plain_mpi_seconds(comm, name, in, out, calls);
    return seconds ? slowest(comm, *seconds) : -1;
  }

  double bus_factor() const {
    const auto n = static_cast<double>(comm.size());
    return name == "broadcast" ? 1 : (name == "all_reduce" ? 2 : 1) * (n - 1) / n;
  }

  Communicator& comm;
  std::string name;
  int64_t elements;
  std::vector<int64_t> parts;
  at::Tensor in, out;
};

nlohmann::json measure(Row& row, double seconds, double copy_bytes_per_s) {
  row.ours(2);
  row.plain(2);
  const double one_s = std::max(row.ours(1), 1e-7);
  const auto calls = std::clamp<int64_t>(static_cast<int64_t>(0.02 / one_s), 1, 1000);
  const double round_s = 2 * one_s * static_cast<double>(calls);
  const auto rounds = std::clamp<int64_t>(static_cast<int64_t>(seconds / round_s), 5, 51);
  std::vector<double> ours, plain, ratios;
  for (int64_t i = 0; i < rounds; ++i) {
    double other = i % 2 == 0 ? row.plain(calls) : 0;  // each goes first in turn
    ours.push_back(row.ours(calls));
    if (i % 2 == 1) other = row.plain(calls);
    if (other < 0) continue;
    plain.push_back(other);
    ratios.push_back(other / ours.back());
  }
  const double bytes = 4.0 * static_cast<double>(row.elements), s = median(ours);
  nlohmann::json r{{"collective", row.name},
                   {"bytes", row.elements * 4},
                   {"seconds", s},
                   {"algorithm_gb_per_s", bytes / s / 1e9},
                   {"bus_gb_per_s", bytes / s / 1e9 * row.bus_factor()},
                   {"share", bytes / s * row.bus_factor() / copy_bytes_per_s}};
  if (!plain.empty()) {
    r["plain_seconds"] = median(plain);
    r["ratio"] = median(ratios);
  }
  return r;
}

// Bytes a rank copies a second while all ranks copy; of what no cache holds.
double copy_bytes_per_s(Communicator& comm) {
  const auto from = torch::ones({1 << 24}, torch::TensorOptions().device(comm.device()));
  auto to = torch::empty_like(from);
  double best_s = 1e9;
  for (int i = 0; i < 6; ++i) {
    comm.barrier("before a copy");
    const double start_s = monotonic_s();
    for (int k = 0; k < 3; ++k) to.copy_(from);
    if (comm.device().is_cuda()) torch::cuda::synchronize();
    best_s = std::min(best_s, slowest(comm, (monotonic_s() - start_s) / 3));
  }
  return static_cast<double>(from.nbytes()) / best_s;
}

}  // namespace

void bench_comm(const CommBenchOptions& options, const std::function<void(const nlohmann::json&)>& row) {
  std::vector<std::string> names;
  for (const std::string name : kCollectives) {
    if (name.find(options.only) != std::string::npos) names.push_back(name);
  }
  if (names.empty()) {
    throw Error(cat("bench comm: --only '", options.only, "' fits no collective; accepted: a part of ",
                    join({std::begin(kCollectives), std::end(kCollectives)}, ", ")));
  }
  const auto launch = dist::read_launch();
  if (launch.world_size < 2) throw Error("bench comm: one rank has nobody to talk to; start several, for example `mpirun -n 2 r1 bench comm`");
  at::set_num_threads(1);  // the ranks of a machine share its cores
  const auto comm = dist::connect(launch, {}, options.gpu);
  comm->set_phase("bench comm");
  const double copy = copy_bytes_per_s(*comm);
  if (comm->is_first()) row({{"limits", {{"ranks", comm->size()}, {"copy_gb_per_s", copy / 1e9}}}});
  for (const auto& name : names) {
    for (int64_t bytes = options.min_bytes; bytes <= options.max_bytes; bytes *= 4) {
      Row one(*comm, name, bytes);
      const auto result = measure(one, options.seconds_per_row, copy);
      if (comm->is_first()) row(result);
    }
  }
}

}  // namespace r1::pipeline
