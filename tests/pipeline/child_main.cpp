// The test program. As `test_pipeline run CONFIG [key=value ...]` and `test_pipeline resume RUN_DIR` it is the program that
// the tests start, kill and signal: LibTorch's threads do not survive a bare fork.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "r1/pipeline/run.h"
#include "r1/train/stage_loop.h"
#include "r1/util/error.h"
#include "r1/util/process_age.h"
#include "r1/util/stop_signal.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 2 || (words[0] != "run" && words[0] != "resume")) {
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
  }
  r1::install_stop_signals();
  try {
    const std::vector<std::string> overrides(words.begin() + 2, words.end());
    if (words[0] == "run") {
      r1::pipeline::run(r1::pipeline::RunConfig::load(words[1], overrides), "run", "", r1::process_age_s());
    } else {
      r1::pipeline::resume(words[1], overrides, false, "resume", "", r1::process_age_s());
    }
  } catch (const r1::train::Interrupted& stop) {
    return 128 + stop.signal;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
