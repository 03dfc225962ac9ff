#include "device_call.h"

namespace r1::ops::device {

void* Call::pointer(const torch::Tensor& t, at::ScalarType dtype, Use use) const {
  if (!t.defined()) return nullptr;
  TORCH_CHECK(t.scalar_type() == dtype && t.is_contiguous() && t.device() == device_, name_, ": a tensor is ",
              t.scalar_type(), " ", t.sizes(), t.is_contiguous() ? "" : " not contiguous", " on ", t.device(), "; accepted: a contiguous ",
              dtype, " on ", device_);
  return open(t, use);
}

}  // namespace r1::ops::device
