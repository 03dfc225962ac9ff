#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "block_scales.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"
#include "weight_sources.h"

namespace r1::model {
namespace {

namespace fs = std::filesystem;

/// Rows and columns that share a scale in `dir`'s FP8 weights: weight_block_size of its quantization_config,
/// DeepSeek-V3's 128 when there is none.
int64_t fp8_block(const fs::path& dir) {
  const auto config = nlohmann::json::parse(read_file(dir / "config.json"));
  const auto size = config.value(nlohmann::json::json_pointer("/quantization_config/weight_block_size"),
                                 nlohmann::json::array({128, 128}));
  if (!size.is_array() || size.size() != 2 || size[0] != size[1] || !size[0].is_number_integer() ||
      size[0] < 1)
    throw Error(cat((dir / "config.json").string(), ": quantization_config.weight_block_size is ",
                    size.dump(), "; accepted: a list of two equal sizes, as [128, 128]."));
  return size[0];
}

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
    case TensorDtype::kF8E4M3:
      return at::kFloat8_e4m3fn;
    case TensorDtype::kU8:
      return at::kByte;
    default:
      throw Error(cat(path, ": tensor '", view.name, "' is ", tensor_dtype_name(view.dtype),
                      "; accepted: F64, F32, F16, BF16, F8_E4M3 with scales, MXFP4 (U8 blocks and scales).\n "
                      " Otherwise quantized HF folders ",
                      "are not supported; use the unquantized model or a GGUF file."));
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
    pair_scales();
    // transformers copies the field of its config, but saves no MTP weights.
    if (config_.has_mtp() && std::none_of(tensors_.begin(), tensors_.end(), [&](const auto& t) { return config_.is_mtp_parameter(t.first); }))
      config_ = config_.trunk();
  }

  const ModelConfig& config() const override { return config_; }
  std::string path() const override { return dir_.string(); }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, entry] : tensors_) names.push_back(name);
    return names;
  }

  std::vector<int64_t> shape(const std::string& name) const override {
    const Entry& entry = find(name);
    if (entry.coding != Coding::kMxfp4) return entry.view->shape;
    auto shape = entry.scales->shape;  // [..., R, I / 32] of what load() gives as [..., I, R]
    if (shape.size() < 2) return shape;
    shape.back() *= 32;
    std::swap(shape.back(), shape[shape.size() - 2]);
    return shape;
  }

  at::Tensor load(const std::string& name) const override {
    const Entry& entry = find(name);
    const auto values = raw(entry, *entry.view);
    switch (entry.coding) {
      case Coding::kFp8:
        return dequantize_fp8(values, raw(entry, *entry.scales).to(at::kFloat), fp8_block_,
                              cat(path(), ": ", name));
      case Coding::kMxfp4:
        return dequantize_mxfp4(values, raw(entry, *entry.scales), cat(path(), ": ", name));
      case Coding::kPlain:
        break;
    }
    if (values.scalar_type() == at::kByte || values.scalar_type() == at::kFloat8_e4m3fn)
      throw Error(
          cat(entry.file->path().string(), ": tensor '", name, "' is ", tensor_dtype_name(entry.view->dtype),
              " and no scales are beside it; accepted: '", name,
              "_scale_inv' for F8_E4M3, '..._blocks' with '..._scales' for MXFP4.\n  ",
              "The file is damaged or quantized in another way; use the unquantized model or a GGUF file."));
    return values.to(at::kFloat);
  }

 private:
  enum class Coding { kPlain, kFp8, kMxfp4 };
  struct Entry {
    const SafetensorsFile* file;
    const TensorView* view;
    Coding coding = Coding::kPlain;
    const TensorView* scales = nullptr;  // of the other two
  };

  at::Tensor raw(const Entry& entry, const TensorView& view) const {
    if (view.bytes.empty())
      throw Error(cat(entry.file->path().string(), ": tensor '", view.name,
                      "' has no elements.\n  The file is damaged; write or download it again."));
    auto out = at::empty(view.shape, scalar_type(view, entry.file->path().string()));
    std::memcpy(out.data_ptr(), view.bytes.data(), view.bytes.size());
    return out;
  }

  /// Puts values and their scales, which are two tensors of a file, under the weight's own name.
  void pair_scales() {
    const std::string fp8 = "_scale_inv", blocks = "_blocks", scales = "_scales";
    std::vector<std::string> scale_names;
    for (const auto& [name, entry] : tensors_) {
      if (name.ends_with(fp8) || (name.ends_with(scales) && entry.view->dtype == TensorDtype::kU8))
        scale_names.push_back(name);
    }
    for (const auto& name : scale_names) {
      const auto* view = tensors_.at(name).view;
      const bool is_fp8 = name.ends_with(fp8);
      const auto weight = name.substr(0, name.size() - (is_fp8 ? fp8 : scales).size());
      const auto values = tensors_.find(is_fp8 ? weight : weight + blocks);
      if (values == tensors_.end() ||
          values->second.view->dtype != (is_fp8 ? TensorDtype::kF8E4M3 : TensorDtype::kU8))
        continue;
      const Entry coded{values->second.file, values->second.view, is_fp8 ? Coding::kFp8 : Coding::kMxfp4,
                        view};
      tensors_.erase(values);
      tensors_.erase(name);
      tensors_[weight] = coded;
      if (is_fp8 && fp8_block_ == 0) fp8_block_ = fp8_block(dir_);
    }
  }

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
  int64_t fp8_block_ = 0;
};

}  // namespace

std::unique_ptr<WeightSource> open_hf_directory(const std::filesystem::path& dir) {
  return std::make_unique<HfWeights>(dir);
}

}  // namespace r1::model
