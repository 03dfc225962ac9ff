// r1 doctor: what this machine is, whether it computes exactly, how fast it is.
#include <cstdio>

#include "command_line.h"
#include "commands.h"
#include "doctor_probes.h"
#include "doctor_ranks.h"
#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"
#include "machine.h"
#include "output.h"
#include "r1/dist/launch.h"
#include "r1/ops/devices.h"
#include "r1/reward/sandbox.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "version.h"

namespace r1::apps {
namespace {

void line(const std::string& name, const std::string& value) {
  char head[32];
  std::snprintf(head, sizeof(head), "%-14s", name.c_str());
  print(cat(head, value, "\n"));
}

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return text;
}

std::string sandbox_here() {
  try {
    return cat("solutions of code rewards run apart from this machine: ", isolation_name(Sandbox().isolation()));
  } catch (const Error&) {
    return "none can be made here: code rewards refuse to run, and say why (docs/code_sandbox.md)";
  }
}

// What the ranks are to each other. Whether all is well; every rank gets the same answer.
bool doctor_of_ranks(dist::Communicator& ranks) {
  bool well = true;
  for (const auto& finding : examine_ranks(ranks)) {
    if (ranks.is_first()) line(finding.name, finding.found);
    well = well && finding.passed;
  }
  return well;
}

int doctor() {
  const auto launch = dist::read_launch();
  // Before the probes: when no rank can join the others, only the first one says why, and mpirun ends it a second after the rest.
  const auto ranks = dist::connect(launch, {}, launch.world_size > 1 && !ops::gpus().empty());
  if (launch.rank > 0) return doctor_of_ranks(*ranks) ? 0 : 1;
  const Machine m = describe_machine();
  line("program", version_line());
  line("CPU", cat(m.cpu, ", ", m.cores, " cores, ", kernels::num_threads(), " threads used, kernels for ",
                  kernels::isa_name(kernels::cpu_isa())));
  line("memory", cat(human_bytes(static_cast<double>(m.available_bytes)), " available of ",
                     human_bytes(static_cast<double>(m.memory_bytes))));
  line("disk", cat(human_bytes(static_cast<double>(m.disk_free_bytes)), " free in this folder"));
  const auto gpus = ops::gpus();
  for (const auto& gpu : gpus) {
    line("GPU", cat(gpu.name, ", sm_", gpu.major, gpu.minor, ", ", human_bytes(static_cast<double>(gpu.free_bytes)), " free of ",
                    human_bytes(static_cast<double>(gpu.memory_bytes))));
  }
  if (gpus.empty()) line("GPU", cat("none used", m.gpu_present ? ", though /dev/nvidia0 is there: " : ": ", ops::why_no_gpu()));
  line("sandbox", sandbox_here());
  bool exact = true;
  const Gemm gemm = [](int64_t M, int64_t N, int64_t K, kernels::MatrixView a, kernels::MatrixView b,
                       float* c, int64_t ldc) { kernels::gemm(M, N, K, a, b, c, ldc); };
  for (const Probe& probe : {probe_product_rows(gemm), probe_cached_decoding(probe_model())}) {
    line("exactness", cat(probe.passed ? "ok    " : "FAILED", " ", probe.name, ": ", probe.found));
    exact = exact && probe.passed;
  }
  line("speed", cat(rounded(gemm_gflops()), " GFLOP/s float32 product of 1024^3, ",
                    rounded(copy_gigabytes_per_s()), " GB/s copy (read + write)"));
  const bool together = ranks->alone() || doctor_of_ranks(*ranks);
  line("verdict",
       !together ? "NOT ready for these ranks, see above"
       : exact ? "ready: texts and log-probabilities do not depend on the batch"
             : "NOT exact: sampler and trainer would disagree; report this machine's CPU and compiler");
  return exact && together ? 0 : 1;
}

}  // namespace

void add_doctor_command(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("doctor", "is this machine ready? versions, memory, exactness, speed; takes 3 s");
  set_examples(*command,
               "  r1 doctor\n"
               "  mpirun -n 4 --hostfile hosts r1 doctor     also: versions, links, clocks and the shared folder of all ranks\n");
  command->callback([&action] { action = doctor; });
}

}  // namespace r1::apps
