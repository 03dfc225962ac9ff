#pragma once
#include <cstdint>
#include <vector>

#include "r1/model/flops.h"
#include "r1/model/transformer.h"
#include "r1/train/batch.h"
#include "r1/util/config.h"

namespace r1::train {

/// The `mtp:` section of a training stage; without effect on a model that has no MTP module.
struct MtpConfig {
  double loss_weight = 0.3;  ///< lambda; 0: the module is left as it is
  double lr = 0;             ///< RL: the module's own learning rate; 0: the stage's
  /// `own_rate`: the stage trains the module apart from the trunk and accepts `lr`.
  static MtpConfig parse(ConfigNode node, double default_weight, bool own_rate);
};

/// What the MTP module says of a packed batch's trained tokens.
struct MtpLoss {
  at::Tensor sum;            ///< - sum log q over the `targets` tokens, nats, with gradient; undefined without targets, unless experts are dealt
  int64_t targets = 0;
  model::PassCounts counts;  ///< in rows of the trunk
};

/// Cross-entropy of the MTP module (arXiv:2412.19437v2 eq. (24), a sum here) on the tokens that the batch trains, from the trunk's
/// hidden_NC of model.hidden. A token that is the second of its sequence has no earlier pair to be predicted from and is left out.
///
///   routing          of the trunk's pass: the module's experts become its last layer; may be null
///   inv_temperature  1 / T: q is the softmax of logits / T, as drafts are drawn
MtpLoss mtp_loss(model::Transformer& model, const at::Tensor& hidden_NC, const PackedBatch& batch, const model::RoutingPtr& routing,
                 double inv_temperature, model::MtpGradient gradient);

/// The targets that mtp_loss finds in all batches of `trees`: what the sum of a whole update is divided by.
int64_t count_mtp_targets(const std::vector<TokenTree>& trees);

}  // namespace r1::train
