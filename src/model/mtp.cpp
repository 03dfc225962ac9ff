#include "r1/model/mtp.h"

#include <torch/torch.h>

#include "checkpointed_block.h"
#include "r1/model/transformer.h"
#include "r1/ops/devices.h"
#include "r1/ops/ops.h"

namespace r1::model {

using torch::Tensor;

MtpModuleImpl::MtpModuleImpl(const ModelConfig& c, at::TensorOptions options, const ExpertRanks& experts)
    : BlockImpl(c, c.num_layers, options, experts) {
  enorm = register_module("enorm", RmsNorm(c.hidden_size, c.rms_norm_eps, options));
  hnorm = register_module("hnorm", RmsNorm(c.hidden_size, c.rms_norm_eps, options));
  eh_proj = register_module("eh_proj", Linear(2 * c.hidden_size, c.hidden_size, false, options));
  auto shared_head = register_module("shared_head", std::make_shared<torch::nn::Module>());
  head_norm = RmsNorm(c.hidden_size, c.rms_norm_eps, options);
  shared_head->register_module("norm", head_norm);
}

Tensor MtpModuleImpl::combine(const Tensor& embedded_MC, const Tensor& hidden_MC) {
  return eh_proj(torch::cat({enorm(embedded_MC), hnorm(hidden_MC)}, 1));
}

MtpLayout::MtpLayout(const ops::PackedLayout& trunk) : row_of(static_cast<size_t>(trunk.num_rows), -1) {
  std::vector<int64_t> token_rows, hidden_rows;
  std::vector<ops::Segment> prefix_of(static_cast<size_t>(trunk.num_rows));  // by the trunk row where a sequence begins
  for (const auto& s : trunk.segments) {
    const bool begins = s.first_position == 0;
    const int64_t rows = s.num_rows - (begins ? 1 : 0);
    if (s.num_rows == 0) continue;
    if (begins) {
      auto& here = prefix_of[static_cast<size_t>(s.first_row)];
      if (rows > 0) here = layout.add_sequence(rows);
    } else {
      const auto& prefix = prefix_of[static_cast<size_t>(s.prefix_row)];
      prefix.num_rows > 0 ? layout.add_continuation(prefix, rows) : layout.add_sequence(rows);
    }
    for (int64_t i = begins ? 1 : 0; i < s.num_rows; ++i) {
      row_of[static_cast<size_t>(s.first_row + i)] = static_cast<int64_t>(token_rows.size());
      token_rows.push_back(s.first_row + i);
      hidden_rows.push_back(i > 0 ? s.first_row + i - 1 : s.prefix_row + s.first_position - 1);
    }
  }
  layout.finish();
  token_rows_M = torch::tensor(token_rows, torch::kLong);
  hidden_rows_M = torch::tensor(hidden_rows, torch::kLong);
}

Tensor TransformerImpl::mtp_hidden(const Tensor& tokens_N, const Tensor& hidden_NC, const MtpLayout& rows, MtpGradient gradient,
                                   const RoutingPtr& routing) {
  TORCH_CHECK(mtp_ != nullptr, "mtp_hidden: the model has no MTP module");
  const bool alone = gradient == MtpGradient::kModuleAlone;
  const auto normed_NC = alone ? norm_(hidden_NC.detach()).detach() : norm_(hidden_NC);
  const auto tokens_M = ops::to_device(tokens_N, device()).index_select(0, ops::to_device(rows.token_rows_M, device()));
  // ops::embedding gathers rows too; a prompt's last row goes to several completions, whose gradients it adds in order.
  const auto x_MC = mtp_->combine(ops::embedding(tokens_M, alone ? embed_weight_.detach() : embed_weight_),
                                  ops::embedding(ops::to_device(rows.hidden_rows_M, device()), normed_NC));
  return run_packed(mtp_blocks_, x_MC, rows.layout, routing);
}

Tensor TransformerImpl::mtp_hidden_cached(const Tensor& tokens_M, const Tensor& normed_MC, KvCache& cache,
                                          const std::vector<ops::CacheRun>& runs) {
  TORCH_CHECK(mtp_ != nullptr, "mtp_hidden_cached: the model has no MTP module");
  const torch::NoGradGuard no_grad;
  return run_cached(mtp_blocks_, mtp_->combine(ops::embedding(ops::to_device(tokens_M, device()), embed_weight_), normed_MC), cache, runs, nullptr);
}

Tensor TransformerImpl::mtp_logits(const Tensor& hidden_MC) {
  const auto h_MC = mtp_->head_norm(hidden_MC);
  if (!torch::GradMode::is_enabled()) return packed_head_.linear(h_MC, head_weight(), {});
  return ops::linear(h_MC, head_weight());
}

std::tuple<Tensor, Tensor> TransformerImpl::mtp_logprobs(const Tensor& hidden_MC, const Tensor& targets_M, double inv_temperature,
                                                         MtpGradient gradient) {
  const auto head_VC = gradient == MtpGradient::kModuleAlone ? head_weight().detach() : head_weight();
  return ops::linear_logprob(mtp_->head_norm(hidden_MC), head_VC, targets_M, inv_temperature, logit_chunk_rows());
}

}  // namespace r1::model
