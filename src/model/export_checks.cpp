#include "export_checks.h"

#include <ATen/ATen.h>

#include <map>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::model {

void require_known_class(const std::string& where, const ModelConfig& c) {
  bool known = c.qkv_bias == c.o_bias;  // Llama, Qwen3: one switch for both
  if (c.architecture == "Qwen2ForCausalLM") known = c.qkv_bias && !c.o_bias;
  if (c.architecture == "MistralForCausalLM") known = !c.qkv_bias && !c.o_bias;
  known = known && (!c.mlp_bias || c.architecture == "LlamaForCausalLM");
  known = known && c.qk_norm == (c.architecture == "Qwen3ForCausalLM");
  if (known) return;
  const auto yes = [](bool value) { return value ? "true" : "false"; };
  throw Error(cat(where, ": cannot be written: no ", c.architecture, " of other programs has qkv_bias ",
                  yes(c.qkv_bias), ", o_bias ", yes(c.o_bias), ", mlp_bias ", yes(c.mlp_bias), ", qk_norm ",
                  yes(c.qk_norm),
                  "; accepted: Llama with qkv_bias = o_bias, Mistral without biases, Qwen2 with ",
                  "qkv_bias alone, Qwen3 with qk_norm and qkv_bias = o_bias, mlp_bias with Llama only.\n  ",
                  "Train a model of one of these shapes to export it."));
}

NamedTensors ordered_parameters(const std::string& where, const ModelConfig& config,
                                const NamedTensors& tensors) {
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : tensors)
    if (!by_name.emplace(name, tensor).second)
      throw Error(cat(where, ": the tensor '", name, "' was given twice"));
  if (config.tie_embeddings) by_name.erase("lm_head.weight");
  NamedTensors ordered;
  for (const auto& spec : expected_parameters(config)) {
    const auto found = by_name.find(spec.name);
    if (found == by_name.end())
      throw Error(cat(where, ": the tensor '", spec.name, "' of the model is missing"));
    if (found->second.sizes() != at::IntArrayRef(spec.shape))
      throw Error(cat(where, ": the tensor '", spec.name, "' has shape ", found->second.sizes(),
                      ", the model config expects ", at::IntArrayRef(spec.shape)));
    ordered.emplace_back(spec.name, found->second);
    by_name.erase(found);
  }
  if (!by_name.empty())
    throw Error(cat(where, ": the tensor '", by_name.begin()->first, "' is no parameter of the model"));
  return ordered;
}

at::Tensor converted(const std::string& where, const std::string& name, const at::Tensor& tensor,
                     at::ScalarType dtype) {
  const at::Tensor source = tensor.detach().cpu();
  const at::Tensor result = source.to(dtype).contiguous();
  if (dtype == at::kHalf && at::isinf(result).logical_and(at::isfinite(source)).any().item<bool>())
    throw Error(cat(where, ": the tensor '", name, "' has a value of ", at::abs(source).max().item<double>(),
                    ", above the largest float16, 65504.\n  Write it as bfloat16 or float32."));
  return result;
}

}  // namespace r1::model
