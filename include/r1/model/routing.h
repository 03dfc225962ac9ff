#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace r1::model {

/// What one pass is told about its routes, and what it tells. Index l counts the expert layers, from the
/// first on; the MTP module's comes last, with rows of its own.
struct Routing {
  double balance_weight = 0;  ///< times sequence_balance of every expert layer; 0: no such gradient
  std::vector<at::Tensor>
      chosen_experts;  ///< [l] [N, K]: taken instead of choosing (routing replay); layers beyond these choose

  std::vector<at::Tensor> experts;  ///< [l] [N, K] int64: where the tokens went
  std::vector<at::Tensor> balance;  ///< [l] sequence_balance, 0-dim and detached; with balance_weight alone
};
using RoutingPtr = std::shared_ptr<Routing>;

}  // namespace r1::model
