#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>

#include "gguf_names.h"
#include "r1/model/quantization.h"
#include "r1/util/error.h"
#include "r1/util/gguf.h"
#include "r1/util/strings.h"
#include "weight_sources.h"

namespace r1::model {
namespace {

class GgufWeights : public WeightSource {
 public:
  explicit GgufWeights(const std::filesystem::path& path)
      : file_(path), config_(ModelConfig::from_gguf(file_)) {
    for (const auto& tensor : file_.tensors()) {
      std::string name = hf_name_of_gguf(tensor.name);
      if (!name.empty()) {
        tensors_.emplace(std::move(name), &tensor);
      } else if (tensor.name != "rope_freqs.weight") {  // which became config_.rope_scaling
        throw Error(cat(path.string(), ": tensor '", tensor.name, "' is no part of a ",
                        file_.get_string("general.architecture"),
                        " model that can be read.\n  The file holds a ",
                        "variant of the architecture that is not supported."));
      }
    }
  }

  const ModelConfig& config() const override { return config_; }
  std::string path() const override { return file_.path().string(); }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }

  std::vector<int64_t> shape(const std::string& name) const override {
    const auto& dims = find(name).dims;
    return {dims.rbegin(), dims.rend()};
  }

  at::Tensor load(const std::string& name) const override {
    const GgufTensor& tensor = find(name);
    if (!can_dequantize(tensor.type))
      throw Error(
          cat(path(), ": tensor '", tensor.name, "' is ", gguf_type_name(tensor.type),
              "; accepted: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K.\n  Use a file of ",
              "another quantization, for example Q8_0."));
    auto out = at::empty(shape(name), at::kFloat);
    const std::span<float> values(out.data_ptr<float>(), static_cast<size_t>(out.numel()));
    if (permuted_heads(config_, name) == 0 || out.dim() == 0) {
      dequantize(tensor.type, tensor.bytes, values);
      return out;
    }
    // Rows go straight to where HF has them. A bias, whose "rows" are single values, is never quantized.
    const int64_t rows = out.size(0);
    const auto row_values = static_cast<size_t>(out.numel() / rows);
    const size_t row_bytes = tensor.bytes.size() / static_cast<size_t>(rows);
    if (rows % config_.head_dim != 0 ||
        row_values % static_cast<size_t>(gguf_block_elements(tensor.type)) != 0)
      throw Error(cat(path(), ": tensor '", tensor.name, "' has ", rows, " rows, which heads of ",
                      config_.head_dim, " do not divide.\n  The file is damaged."));
    for (int64_t row = 0; row < rows; ++row) {
      const auto target = static_cast<size_t>(hf_row_of_gguf_row(row, config_.head_dim));
      dequantize(tensor.type, tensor.bytes.subspan(static_cast<size_t>(row) * row_bytes, row_bytes),
                 values.subspan(target * row_values, row_values));
    }
    return out;
  }

 private:
  const GgufTensor& find(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw_no_tensor(path(), name, names());
    return *found->second;
  }

  GgufFile file_;
  ModelConfig config_;
  std::map<std::string, const GgufTensor*> tensors_;  // by HF name
};

}  // namespace

std::unique_ptr<WeightSource> open_gguf(const std::filesystem::path& file) {
  return std::make_unique<GgufWeights>(file);
}

}  // namespace r1::model
