#include "checkpointed_block.h"

#include <torch/torch.h>

namespace r1::model {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct BlockCall : torch::CustomClassHolder {
  Block block{nullptr};
  std::shared_ptr<const BlockPass> pass;
};

struct CheckpointedBlock : torch::autograd::Function<CheckpointedBlock> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const c10::intrusive_ptr<BlockCall>& call) {
    ctx->save_for_backward({x_NC});
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    return call->block->forward(x_NC, *call->pass);  // no gradients are recorded here
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto call = c10::static_intrusive_pointer_cast<BlockCall>(ctx->saved_data["call"].toCapsule());
    auto x_NC = saved[0].detach().requires_grad_(true);
    Tensor y_NC;
    {
      const torch::AutoGradMode enable(true);
      y_NC = call->block->forward(x_NC, *call->pass);
    }
    torch::autograd::backward({y_NC}, {grads[0]});  // adds to the block's parameter gradients
    return {x_NC.grad(), Tensor()};
  }
};

}  // namespace

Tensor checkpointed_block(const Block& block, const Tensor& x_NC, const std::shared_ptr<const BlockPass>& pass) {
  auto call = c10::make_intrusive<BlockCall>();
  call->block = block;
  call->pass = pass;
  return CheckpointedBlock::apply(x_NC, call);
}

}  // namespace r1::model
