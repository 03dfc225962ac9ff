#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "r1/util/error.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"
#include "weight_sources.h"

namespace r1::model {
namespace {

namespace fs = std::filesystem;

/// Shard file names of an index, after checking that each is a plain name.
std::map<std::string, std::string> read_index(const fs::path& index) {
  const auto fail = [&](const std::string& what) {
    throw Error(cat(index.string(), ": ", what, ".\n  The file is damaged; write or download it again."));
  };
  const std::string text = read_file(index);
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
      if (depth > 16) fail("nested deeper than 16 levels");
      return true;
    });
  } catch (const nlohmann::json::exception& error) {
    fail(cat("not JSON: ", error.what()));
  }
  if (!object.is_object() || !object.contains("weight_map") || !object["weight_map"].is_object())
    fail("has no object 'weight_map'");
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, file] : object["weight_map"].items()) {
    if (!file.is_string()) fail(cat("weight_map entry '", name, "' is not a file name"));
    const auto shard = file.get<std::string>();
    if (shard.empty() || shard.find('/') != std::string::npos || shard == "..")
      fail(cat("weight_map entry '", name, "' is '", shard,
               "'; accepted: the name of a file in the same folder"));
    shard_of[name] = shard;
  }
  if (shard_of.empty()) fail("'weight_map' is empty");
  return shard_of;
}

at::ScalarType scalar_type(const TensorView& view, const std::string& path) {
  switch (view.dtype) {
    case TensorDtype::kF64:
      return at::kDouble;
    case TensorDtype::kF32:
      return at::kFloat;
    case TensorDtype::kF16:
      return at::kHalf;
    case TensorDtype::kBF16:
      return at::kBFloat16;
    default:
      throw Error(cat(path, ": tensor '", view.name, "' is ", tensor_dtype_name(view.dtype),
                      "; accepted: F64, F32, F16, BF16.\n  Quantized HF folders are not supported; use the ",
                      "unquantized model or a GGUF file."));
  }
}

class HfWeights : public WeightSource {
 public:
  explicit HfWeights(const fs::path& dir) : dir_(dir), config_(ModelConfig::from_hf(dir)) {
    const fs::path single = dir / "model.safetensors", index = dir / "model.safetensors.index.json";
    if (fs::exists(single)) {
      add_shard(single);
    } else if (fs::exists(index)) {
      const auto shard_of = read_index(index);
      std::set<std::string> shards;
      for (const auto& [name, shard] : shard_of) shards.insert(shard);
      for (const auto& shard : shards) add_shard(dir / shard);
      for (const auto& [name, shard] : shard_of) {
        const auto found = tensors_.find(name);
        if (found == tensors_.end() || found->second.file->path().filename() != shard)
          throw Error(cat(index.string(), ": says that '", name, "' is in ", shard, ", but it is ",
                          found == tensors_.end()
                              ? "in none of the files"
                              : cat("in ", found->second.file->path().filename().string()),
                          ".\n  The folder mixes files of two models; write or download it again."));
      }
    } else {
      throw Error(cat(dir.string(), ": holds neither model.safetensors nor model.safetensors.index.json.\n  ",
                      "Weights in .bin files must be converted to safetensors first."));
    }
  }

  const ModelConfig& config() const override { return config_; }
  std::string path() const override { return dir_.string(); }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, entry] : tensors_) names.push_back(name);
    return names;
  }

  std::vector<int64_t> shape(const std::string& name) const override { return find(name).view->shape; }

  at::Tensor load(const std::string& name) const override {
    const Entry& entry = find(name);
    const TensorView& view = *entry.view;
    if (view.bytes.empty())
      throw Error(cat(entry.file->path().string(), ": tensor '", name,
                      "' has no elements.\n  The file is damaged; write or download it again."));
    auto out = at::empty(view.shape, scalar_type(view, entry.file->path().string()));
    std::memcpy(out.data_ptr(), view.bytes.data(), view.bytes.size());
    return out.to(at::kFloat);
  }

 private:
  struct Entry {
    const SafetensorsFile* file;
    const TensorView* view;
  };

  void add_shard(const fs::path& path) {
    const auto& file = files_.emplace_back(std::make_unique<SafetensorsFile>(path));
    for (const auto& view : file->tensors()) {
      const auto [place, is_new] = tensors_.emplace(view.name, Entry{file.get(), &view});
      if (!is_new)
        throw Error(cat(path.string(), ": tensor '", view.name, "' is also in ",
                        place->second.file->path().filename().string(),
                        ".\n  The folder mixes files of two models; write or download it again."));
    }
  }

  const Entry& find(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw_no_tensor(path(), name, names());
    return found->second;
  }

  fs::path dir_;
  ModelConfig config_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Entry> tensors_;
};

}  // namespace

std::unique_ptr<WeightSource> open_hf_directory(const std::filesystem::path& dir) {
  return std::make_unique<HfWeights>(dir);
}

}  // namespace r1::model
