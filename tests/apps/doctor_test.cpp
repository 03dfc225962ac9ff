// doctor's report, and that its probes can fail.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>

#include "doctor_probes.h"
#include "doctor_ranks.h"
#include "process.h"
#include "util/temp_folder.h"

namespace r1::apps {
namespace {

using testing_support::run_r1;

TEST(Doctor, ReportsAMachineThatIsReady) {
  const auto r = run_r1({"doctor"});
  EXPECT_EQ(r.exit_code, 0) << r.out << r.err;
  for (const char* part :
       {"LibTorch 2.11", "CPU", "cores", "kernels for avx", "memory", "disk", "GPU", "sandbox", "code rewards", "GFLOP/s", "GB/s copy",
        "0 of 64 rows differ alone, 0 from the plain loops", "verdict       ready"}) {
    EXPECT_HOLDS(r.out, part);
  }
  EXPECT_EQ(r.out.find("FAILED"), std::string::npos);
}

TEST(Doctor, FindsAProductThatDependsOnItsBatch) {
  const Gemm depends = [](int64_t M, int64_t N, int64_t K, kernels::MatrixView a, kernels::MatrixView b,
                          float* c, int64_t ldc) {
    kernels::gemm(M, N, K, a, b, c, ldc);
    if (M == 1) c[3] = std::nextafter(c[3], 1e9f);
  };
  const Probe probe = probe_product_rows(depends);
  EXPECT_FALSE(probe.passed);
  EXPECT_HOLDS(probe.found, "64 of 64 rows differ alone");
}

TEST(Doctor, SaysWhichRankDiffersAndHow) {
  const std::vector<RankReport> well{{"a", "r1 1", "mark", 100.0, 5e9}, {"a", "r1 1", "mark", 100.001, 4e9}, {"b", "r1 1", "mark", 100.4, 6e9}};
  for (const auto& finding : judge_ranks(well, "mark", "/shared")) EXPECT_TRUE(finding.passed) << finding.found;
  EXPECT_HOLDS(judge_ranks(well, "mark", "/shared")[0].found, "3 on 2 machines: a (2), b (1)");
  const auto fault = [&](const std::function<void(RankReport&)>& break_it) {
    auto reports = well;
    break_it(reports[2]);
    std::string said;
    for (const auto& finding : judge_ranks(reports, "mark", "/shared")) {
      if (!finding.passed) said += finding.name + ": " + finding.found;
    }
    return said;
  };
  EXPECT_HOLDS(fault([](RankReport& r) { r.version = "r1 2"; }), "versions: FAILED: rank 0 runs r1 1; rank 2 on b: r1 2");
  EXPECT_HOLDS(fault([](RankReport& r) { r.folder_seen = ""; }), "shared folder: FAILED: rank 2 on b does not see");
  EXPECT_HOLDS(fault([](RankReport& r) { r.clock_s = 103; }), "clocks: FAILED: within 3 s");
}

TEST(Doctor, FindsAModelThatIsNotFinite) {
  auto model = probe_model();
  EXPECT_TRUE(probe_cached_decoding(model).passed);
  const torch::NoGradGuard no_grad;
  model->named_parameters()["model.norm.weight"].fill_(std::numeric_limits<float>::infinity());
  EXPECT_FALSE(probe_cached_decoding(model).passed);
}

}  // namespace
}  // namespace r1::apps
