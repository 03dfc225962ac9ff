#pragma once
#include <memory>
#include <vector>

#include "r1/ops/adamw.h"
#include "r1/train/optimizer.h"

namespace r1::train {

/// The float32 sum of one parameter's gradients since zero_grad().
struct GradientSum {
  at::Tensor values;
  bool any = false;  ///< false: counts as zero, `values` may hold old numbers
  void take(const at::Tensor& parameter);  ///< adds the parameter's gradient and frees it
};

/// What AdamW keeps on a device beside its slots.
struct AdamW::OnDevice {
  struct Norm {
    at::Tensor on_device;  // ops::DeviceAdamW::gradient_norm
    double norm = 0, factor = 1;
  };

  explicit OnDevice(std::vector<Slot>& slots);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  std::vector<at::Tensor> finished_gradients();  ///< of every slot, zeros where there was none
  void forget_gradients();
  Norm norm(double max_norm);

  std::vector<at::Tensor> parameters;
  std::vector<std::shared_ptr<GradientSum>> sums;
  std::unique_ptr<ops::DeviceAdamW> adamw;
};

}  // namespace r1::train
