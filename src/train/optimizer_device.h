#pragma once
#include <memory>
#include <optional>
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

  explicit OnDevice(AdamW& of);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  std::vector<at::Tensor> finished_gradients();  ///< of every slot, zeros where there was none
  void forget_gradients();
  Norm norm(double max_norm);  ///< with ZeRO-1 collective

  std::vector<at::Tensor> parameters;
  std::vector<std::shared_ptr<GradientSum>> sums;
  std::unique_ptr<ops::DeviceAdamW> adamw;  ///< of all parameters, or with ZeRO-1 of own slices

  /// ZeRO-1.
  struct Shard {
    std::shared_ptr<dist::Communicator> ranks;
    at::Tensor masters;      ///< as shard_avg_
    at::Tensor places;       ///< int64: of this rank's sums of squares among those of all parameters
    int64_t num_places = 0;  ///< of all
  };
  std::optional<Shard> shard;

 private:
  void share(AdamW& of);
};

}  // namespace r1::train
