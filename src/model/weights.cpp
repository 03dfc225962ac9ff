#include "r1/model/weights.h"

#include <algorithm>
#include <map>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "weight_sources.h"

namespace r1::model {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return cat("[", join(sizes, ", "), "]");
}

/// "a, b, c and 7 more".
std::string first_few(const std::vector<std::string>& names) {
  const std::vector<std::string> head(names.begin(), names.begin() + std::min<size_t>(3, names.size()));
  return cat(join(head, ", "), names.size() > 3 ? cat(" and ", names.size() - 3, " more") : "");
}

bool is_ignored(const std::string& name, const ModelConfig& config) {
  const bool shared_by_mtp = config.is_mtp_parameter(name) &&
                             (name.ends_with(".embed_tokens.weight") || name.ends_with(".shared_head.head.weight"));
  return (config.tie_embeddings && name == "lm_head.weight") || shared_by_mtp || name.ends_with(".rotary_emb.inv_freq");
}

}  // namespace

void throw_no_tensor(const std::string& path, const std::string& name,
                     const std::vector<std::string>& names) {
  const std::string near = nearest(name, names);
  throw Error(cat(path, ": holds no tensor '", name, "' among its ", names.size(), ".",
                  near.empty() ? "" : cat("\n  The nearest name is '", near, "'.")));
}

std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status))
    throw Error(cat(path.string(), ": no such file or folder; accepted: a HF folder with config.json and ",
                    "model.safetensors, or a .gguf file.\n  Check the path of the weights."));
  if (fs::is_directory(status)) return open_hf_directory(path);
  if (path.extension() == ".gguf") return open_gguf(path);
  throw Error(
      cat(path.string(), ": not a folder and not a .gguf file; accepted: a HF folder with config.json and ",
          "model.safetensors, or a .gguf file.\n  For a single .safetensors file give the folder it is in."));
}

void check_weights(const WeightSource& source, const ModelConfig& config) {
  const auto names = source.names();
  std::map<std::string, std::vector<int64_t>> expected;
  for (auto& spec : expected_parameters(config)) expected.emplace(spec.name, std::move(spec.shape));
  std::vector<std::string> missing, unexpected;
  for (const auto& [name, shape] : expected) {
    if (!std::binary_search(names.begin(), names.end(), name)) {
      missing.push_back(name);
      continue;
    }
    const auto found = source.shape(name);
    if (found != shape)
      throw Error(cat(source.path(), ": tensor '", name, "' has shape ", shape_text(found),
                      ", the model config expects ", shape_text(shape),
                      ".\n  The weights belong to another model than the config; use the config ",
                      "that came with them."));
  }
  const auto left_out = [&](const std::string& name) { return !config.has_mtp() && source.config().is_mtp_parameter(name); };
  for (const auto& name : names)
    if (expected.count(name) == 0 && !is_ignored(name, config) && !left_out(name)) unexpected.push_back(name);
  if (missing.empty() && unexpected.empty()) return;
  throw Error(cat(
      source.path(), ": ",
      missing.empty() ? ""
                      : cat(missing.size(), " tensors of the model are missing (", first_few(missing), ")"),
      !missing.empty() && !unexpected.empty() ? "; " : "",
      unexpected.empty()
          ? ""
          : cat(unexpected.size(), " tensors are not part of it (", first_few(unexpected), ")"),
      ".\n  The weights belong to another model than the config; use the config that came with them."));
}

}  // namespace r1::model
