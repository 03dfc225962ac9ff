#include "r1/train/stage.h"

#include <torch/torch.h>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::train {

UpdateConfig UpdateConfig::parse(ConfigNode& node) {
  UpdateConfig c;
  c.optimizer = AdamWConfig::parse(node.child("optimizer"));
  c.schedule = algo::LrSchedule::parse(node.child("schedule"));
  node.read("micro_batch_tokens", c.micro_batch_tokens, at_least<int64_t>(16));
  node.read("activation_checkpointing", c.activation_checkpointing);
  return c;
}

void fail_not_finite(const StageContext& context, int64_t step, const std::string& what, const nlohmann::json& batch) {
  const auto file = context.run_dir / "rollouts" / cat(context.stage, "-failed-step-", step, ".json");
  if (context.sharing.ranks->is_first()) {
    std::filesystem::create_directories(file.parent_path());
    write_file_atomic(file, batch.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  if (!context.sharing.ranks->is_first()) throw dist::FailedElsewhere{"rank 0 says why"};
  throw Error(cat("stage '", context.stage, "', step ", step, ": ", what,
                  " is not finite. The update was not applied and the last checkpoint stays.\n  The batch is in ",
                  file.string(), ". Lower schedule.lr or optimizer.max_grad_norm, then `r1 resume ",
                  context.run_dir.string(), "`."));
}

void warn_of_idle_ranks(const StageContext& context, int64_t micro_batches) {
  const int ranks = context.sharing.ranks->size();
  if (micro_batches >= ranks) return;
  log_warning(cat("stage '", context.stage, "': an update is ", micro_batches, micro_batches == 1 ? " micro-batch" : " micro-batches", " for ", ranks,
                  " ranks: some compute nothing. A smaller micro_batch_tokens makes more of them."));
}

NamedTensors trainable_parameters(const model::Transformer& model, Part part) {
  NamedTensors out;
  for (const auto& item : model->named_parameters()) {
    const bool of_mtp = model->config().is_mtp_parameter(item.key());
    if (part == Part::kAll || of_mtp == (part == Part::kMtp)) out.emplace_back(item.key(), item.value());
  }
  return out;
}

}  // namespace r1::train
