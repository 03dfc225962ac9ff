#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "util/temp_folder.h"

namespace r1::train {

/// Runs `body` in a child, whose limits, mounts and user end with it, and repeats its failures here.
inline void in_child(const std::function<void()>& body) {
  const testing_support::TempFolder folder;
  const std::filesystem::path report = folder / "failures";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FILE* out = std::fopen(report.c_str(), "w");
    try {
      body();
    } catch (const std::exception& e) {
      std::fprintf(out, "exception: %s\n", e.what());
    } catch (...) {
      std::fprintf(out, "something was thrown that is no std::exception\n");
    }
    const auto& result = *::testing::UnitTest::GetInstance()->current_test_info()->result();
    for (int i = 0; i < result.total_part_count(); ++i) {
      const auto& part = result.GetTestPartResult(i);
      if (part.failed())
        std::fprintf(out, "%s:%d: %s\n", part.file_name(), part.line_number(), part.message());
    }
    std::fclose(out);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_TRUE(std::filesystem::exists(report));
  EXPECT_EQ(testing_support::slurp(report), "");
}

}  // namespace r1::train
