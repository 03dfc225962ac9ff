#include "r1/train/stage.h"

#include <torch/torch.h>

#include <map>
#include <set>

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
  const auto here = model->named_parameters();
  for (const auto& name : model->all_parameter_names()) {
    const bool of_mtp = model->config().is_mtp_parameter(name);
    if (part != Part::kAll && of_mtp != (part == Part::kMtp)) continue;
    const auto* found = here.find(name);
    out.emplace_back(name, found == nullptr ? at::Tensor() : *found);
  }
  return out;
}

ExpertLeaves expert_leaves(const model::Transformer& model) {
  ExpertLeaves leaves;
  if (!model->expert_ranks().dealt()) return leaves;
  std::map<const at::TensorImpl*, std::string> names;
  for (const auto& item : model->named_parameters()) names[item.value().unsafeGetTensorImpl()] = item.key();
  for (const auto& layer : model->expert_layers()) {
    size_t i = 0;
    const auto& all = layer->leaves();
    const auto matrices = layer->matrices();
    for (const auto& matrix : matrices) {
      for (const auto& weight : {matrix.gate_FC, matrix.up_FC, matrix.down_CF}) {
        auto& of_weight = leaves[names.at(weight.unsafeGetTensorImpl())];
        for (size_t at = i; at < all.size(); at += 3 * matrices.size()) of_weight.push_back(all[at]);
        ++i;
      }
    }
  }
  return leaves;
}

CheckpointGroup model_group(const std::string& group_name, const model::Transformer& model, TensorParts parts) {
  CheckpointGroup group{group_name, {}, std::move(parts.slices)};
  const auto dealt = expert_leaves(model);
  for (auto& [name, tensor] : parts.tensors) {
    if (!tensor.defined()) continue;
    if (dealt.contains(name)) group.slices.push_back({name, tensor.sizes().vec(), 0, tensor.view(-1)});
    else group.tensors.emplace_back(name, tensor);
  }
  return group;
}

void load_model_group(const CheckpointReader& reader, const std::string& group, const model::Transformer& model, TensorParts parts) {
  std::set<std::string> here;
  for (const auto& [name, tensor] : parts.tensors) here.insert(name);
  for (const auto& name : model->all_parameter_names()) {
    if (!here.contains(name)) parts.tensors.emplace_back(name, at::Tensor());
  }
  reader.load_group(group, parts.tensors, parts.slices);
}

void empty_pass(model::Transformer& model, std::optional<model::MtpGradient> mtp) {
  const auto tokens = torch::zeros({0}, torch::kLong);
  ops::PackedLayout layout;
  layout.finish();
  const auto hidden = model->hidden(tokens, layout);
  if (!torch::GradMode::is_enabled()) return;
  const auto through_mtp = [&] { return model->mtp_hidden(tokens, hidden, model::MtpLayout(layout), *mtp).sum(); };
  if (mtp == model::MtpGradient::kWithTrunk) return (hidden.sum() + through_mtp()).backward();
  hidden.sum().backward();
  if (mtp) through_mtp().backward();
}

}  // namespace r1::train
