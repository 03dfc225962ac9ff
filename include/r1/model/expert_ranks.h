#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "r1/dist/communicator.h"

namespace r1::model {

/// Where a model's routed experts are: every layer's are dealt over the ranks of a group, consecutive ones to each, and a rank has the
/// parameters of its own alone. All else is on every rank.
///
/// The ranks of a group make the same passes in the same order, of whatever tokens; a rank without any makes one of no token. Source:
/// expert parallelism of arXiv:2006.16668 section 2.2 and arXiv:2412.19437v2 section 3.2.
struct ExpertRanks {
  std::shared_ptr<dist::Communicator> group = dist::single();
  /// Each rank's tokens have their gradients apart, in leaves of their own (MoeImpl::leaves), so that they can be added in the order of
  /// one rank: in float32 on a CPU alone. Else a parameter's .grad is the sum over the group.
  bool by_source = true;
  /// So far: time in exchanges of tokens with experts, waiting for the other ranks included; on a device the host's alone. Shared by
  /// all copies.
  std::shared_ptr<double> exchange_s = std::make_shared<double>(0);

  bool dealt() const { return !group->alone(); }
  /// Whether any rank of the group says so. Collective.
  bool any(bool mine) const;
  int64_t begin_of(int rank, int64_t num_experts) const { return num_experts * rank / group->size(); }
  int64_t begin(int64_t num_experts) const { return begin_of(group->rank(), num_experts); }
  int64_t end(int64_t num_experts) const { return begin_of(group->rank() + 1, num_experts); }
};

}  // namespace r1::model
