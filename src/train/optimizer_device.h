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
    at::Tensor on_device;  // ops::DeviceAdamW::norm_of
    double norm = 0, factor = 1;
  };

  explicit OnDevice(AdamW& of);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  std::vector<at::Tensor> finished_gradients();  ///< of every slot, zeros where there was none, undefined for another rank's
  void forget_gradients();
  Norm norm(double max_norm);  ///< collective with ZeRO-1 and where experts are dealt

  std::vector<at::Tensor> parameters;              ///< of the slots; undefined: another rank's
  std::vector<std::shared_ptr<GradientSum>> sums;  ///< of the slots; null: another rank's
  std::unique_ptr<ops::DeviceAdamW> adamw;         ///< of own slices, without ZeRO-1 all that is here
  at::Tensor masters;                              ///< ZeRO-1: as shard_avg_

 private:
  /// The sums of squares that `adamw` makes of parameters whose gradients are added up over the same ranks (AdamW::Shared).
  struct Squares {
    std::shared_ptr<dist::Communicator> ranks;
    int64_t own = 0, all = 0;  ///< made here, with ZeRO-1 a part of those of all the parameters
    at::Tensor places;         ///< ZeRO-1: int64, of own ones among all
  };
  void make_table(AdamW& of);

  std::vector<Squares> squares_;
  std::shared_ptr<dist::Communicator> experts_;  ///< the ranks that hold a model's experts between them; null: each holds all
};

}  // namespace r1::train
