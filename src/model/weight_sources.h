#pragma once
#include <filesystem>
#include <memory>

#include "r1/model/weights.h"

namespace r1::model {

/// The two kinds of WeightSource behind open_weights.
std::unique_ptr<WeightSource> open_hf_directory(const std::filesystem::path& dir);
std::unique_ptr<WeightSource> open_gguf(const std::filesystem::path& file);

/// Throws Error: `path` holds no tensor `name`, and the nearest of `names`.
[[noreturn]] void throw_no_tensor(const std::string& path, const std::string& name,
                                  const std::vector<std::string>& names);

}  // namespace r1::model
