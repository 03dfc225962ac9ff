#include <ATen/core/Tensor.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "export_checks.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

namespace fs = std::filesystem;

struct DtypePair {
  at::ScalarType aten;
  TensorDtype file;
  const char* name;  ///< as config.json says it
};

DtypePair dtype_pair(HfDtype dtype) {
  if (dtype == HfDtype::kF16) return {at::kHalf, TensorDtype::kF16, "float16"};
  if (dtype == HfDtype::kBF16) return {at::kBFloat16, TensorDtype::kBF16, "bfloat16"};
  return {at::kFloat, TensorDtype::kF32, "float32"};
}

/// Fills shards in order; a tensor larger than `max_bytes` has one of its own.
std::vector<NamedTensors> split_into_shards(const NamedTensors& tensors, int64_t element_bytes,
                                            uint64_t max_bytes) {
  std::vector<NamedTensors> shards(1);
  uint64_t filled = 0;
  for (const auto& named : tensors) {
    const auto bytes = static_cast<uint64_t>(named.second.numel() * element_bytes);
    if (!shards.back().empty() && filled + bytes > max_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(named);
    filled += bytes;
  }
  return shards;
}

void write_shard(const fs::path& file, const NamedTensors& tensors, const DtypePair& dtype) {
  std::vector<TensorSpec> specs;
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({name, dtype.file, tensor.sizes().vec()});
    by_name.emplace(name, tensor);
  }
  SafetensorsWriter writer(file, specs, {{"format", "pt"}});  // transformers refuses a file without it
  for (const auto& spec : writer.order()) {
    const at::Tensor values = converted(file.string(), spec.name, by_name.at(spec.name), dtype.aten);
    writer.write({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  }
  writer.close();
}

}  // namespace

void write_hf_directory(const fs::path& dir, const ModelConfig& config, const NamedTensors& tensors,
                        HfDtype dtype, uint64_t max_shard_bytes) {
  config.validate(dir.string());
  require_known_class(dir.string(), config);
  NamedTensors ordered = ordered_parameters(dir.string(), config, tensors);
  if (config.has_mtp()) {
    std::map<std::string, at::Tensor> by_name(ordered.begin(), ordered.end());
    const std::string prefix = cat("model.layers.", config.num_layers, "."), embedding = "model.embed_tokens.weight";
    ordered.emplace_back(prefix + "embed_tokens.weight", by_name.at(embedding));
    ordered.emplace_back(prefix + "shared_head.head.weight", by_name.at(config.tie_embeddings ? embedding : "lm_head.weight"));
  }
  const DtypePair pair = dtype_pair(dtype);
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) throw Error(cat(dir.string(), ": cannot create the folder: ", error.message(), "."));
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (fs::exists(dir / name))
      throw Error(cat((dir / name).string(), ": exists already; accepted: a folder without weights.\n  ",
                      "Choose another folder or remove the old weights."));

  const auto shards = split_into_shards(ordered, tensor_dtype_bytes(pair.file), max_shard_bytes);
  uint64_t total_bytes = 0;
  for (const auto& [name, tensor] : ordered)
    total_bytes += static_cast<uint64_t>(tensor.numel() * tensor_dtype_bytes(pair.file));
  require_free_space(dir, total_bytes, cat("the weights of ", dir.string()));
  if (shards.size() == 1) {
    write_shard(dir / "model.safetensors", ordered, pair);
  } else {
    nlohmann::json weight_map = nlohmann::json::object();
    for (size_t i = 0; i < shards.size(); ++i) {
      char name[64];
      std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
      write_shard(dir / name, shards[i], pair);
      for (const auto& named : shards[i]) weight_map[named.first] = name;
    }
    const nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
    write_file_atomic(dir / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  // Last, so that a folder with a config.json is a complete one.
  nlohmann::json json = config.to_hf_json();
  json["torch_dtype"] = pair.name;
  write_file_atomic(dir / "config.json", json.dump(2) + "\n");
}

}  // namespace r1::model
