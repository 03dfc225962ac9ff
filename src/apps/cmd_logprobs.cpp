// r1 logprobs: token ids in, the log-probability of each id out, as JSON lines.
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "json_lines.h"
#include "r1/pipeline/device.h"
#include "r1/pipeline/model_files.h"
#include "r1/util/error.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"
#include "scorer.h"
#include "token_ids.h"

namespace r1::apps {
namespace {

struct LogprobsOptions {
  std::filesystem::path model, logits;
  std::string dtype = "float32", device = "cpu";
  bool cached = false;
  int64_t prefill = 1;
  double temperature = 1;
};

// 9 digits bring a float32 back, 17 a float64.
std::string row_of(const at::Tensor& logprobs, bool float64) {
  std::string row = "{\"logprobs\":[";
  const auto values = logprobs.to(torch::kCPU, torch::kDouble).contiguous();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double value = values.data_ptr<double>()[i];
    if (!std::isfinite(value)) {
      throw Error(cat("the log-probability of ids[", i + 1, "] is ", value,
                      "; accepted: finite numbers. The weights hold "
                      "NaN or infinities, or the temperature is too small."));
    }
    char text[40];
    std::snprintf(text, sizeof(text), float64 ? "%s%.17g" : "%s%.9g", i == 0 ? "" : ",", value);
    row += text;
  }
  return row + "]}";
}

// Writes tensors under their names.
void save(const std::filesystem::path& file, const model::NamedTensors& tensors) {
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    TensorView view;
    view.name = name;
    view.dtype = tensor.scalar_type() == torch::kDouble ? TensorDtype::kF64 : TensorDtype::kF32;
    view.shape = tensor.sizes().vec();
    view.bytes = {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
    views.push_back(std::move(view));
  }
  write_safetensors(file, views);
}

int logprobs(const LogprobsOptions& options) {
  const bool float64 = options.dtype == "float64";
  const auto device = pipeline::choose_device(pipeline::device_of_name(options.device), "--device");
  const auto dtype = float64 ? torch::kDouble : pipeline::compute_dtype(device);
  Scorer scorer(pipeline::load_model(options.model, dtype, device), options.temperature);
  const auto& config = scorer.config();
  model::NamedTensors logits;
  answer_json_lines([&](const nlohmann::json& object) {
    reject_unknown_members(object, {"ids"});
    const auto ids = read_ids(object, config.vocab_size, false);
    if (static_cast<int64_t>(ids.size()) > config.max_positions) {
      throw Error(cat("\"ids\" has ", ids.size(), " tokens; accepted: 1 to ", config.max_positions,
                      ", the model's context. Cut the sequence."));
    }
    if (!options.logits.empty()) {
      logits.emplace_back(cat("logits.", logits.size() + 1), scorer.logits(ids).to(torch::kCPU, float64 ? torch::kDouble : torch::kFloat).contiguous());
    }
    return row_of(options.cached ? scorer.cached(ids, options.prefill) : scorer.packed(ids), float64);
  });
  if (!options.logits.empty()) save(options.logits, logits);
  return 0;
}

}  // namespace

void add_logprobs_command(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("logprobs", "log-probabilities of token ids: JSON lines from stdin to stdout");
  const auto options = std::make_shared<LogprobsOptions>();
  command->add_option("--model", options->model, "HF folder, a run's checkpoint or a .gguf file")->required();
  command->add_option("--dtype", options->dtype, "what the model computes in on a CPU; float64 also on a device")
      ->check(one_of({"float32", "float64"}))
      ->capture_default_str();
  add_device_option(*command, options->device);
  command->add_flag("--cached", options->cached, "token by token with the KV cache, as when sampling");
  command->add_option("--prefill", options->prefill, "ids that --cached computes at once before the rest")
      ->check(from_to(1, 1e9))
      ->capture_default_str();
  command->add_option("--temperature", options->temperature, "divides the logits")
      ->check(from_to(1e-3, 1e3))
      ->capture_default_str();
  command->add_option("--logits", options->logits,
                      "also write the logits of the n-th sequence as logits.n, [ids, vocabulary], into this "
                      ".safetensors file");
  set_examples(*command,
               "  echo '{\"ids\": [33, 34, 1232]}' | r1 logprobs --model MODEL\n"
               "      {\"logprobs\":[log p(34 | 33), log p(1232 | 33 34)]}, natural logarithms\n"
               "float32 is printed with 9 digits, float64 with 17: reading it gives the same bits back. In "
               "float32 the\n"
               "two ways, with --cached and without, give the same bits (docs/numerics.md).\n");
  command->callback([options, &action] { action = [options] { return logprobs(*options); }; });
}

}  // namespace r1::apps
