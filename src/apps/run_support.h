#pragma once
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace r1::apps {

/// Runs `work` so that SIGINT and SIGTERM end it after its step with a checkpoint; returns 0, 130 or 143.
int interruptible(const std::string& run_dir, const std::function<void()>& work);

}  // namespace r1::apps
