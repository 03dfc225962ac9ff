#pragma once
#include <cstdint>

#include "r1/util/config.h"

namespace r1::pipeline {

/// The `cluster:` section of a hardware file: what `r1 plan --simulate` needs beyond a single device. Every figure has its source
/// beside it in configs/hardware/h800.yaml. A share is what a kernel, run alone, reaches of its peak.
struct Cluster {
  int64_t gpus_per_node = 8;
  double nvlink_bytes_per_s = 160e9;  ///< of a device to those of its node, one direction
  double fp8_flops = 0;               ///< peak FLOP/s of FP8 products; 0: they run in bfloat16
  double projection_share = 0.565;    ///< of fp8_flops: an attention layer's matrices
  double expert_share = 0.618;        ///< of fp8_flops: grouped and dense MLPs
  double bf16_share = 0.79;           ///< of Hardware::flops: the head, and all products without FP8
  double attention_share = 0.585;     ///< of Hardware::flops: softmax(q k) v forward
  double attention_backward_share = 0.548;
  double decode_attention_share = 0.586;  ///< of Hardware::flops: decoding's attention
  double memory_share = 0.9;          ///< of Hardware::bytes_per_s
  double backward_share = 1;          ///< of a forward product's speed: both products of the backward pass
  double exchange_share = 0.8;        ///< of a link: all_to_all, reduce_scatter and all_gather of much data
  double exchange_multiprocessors = 20;  ///< that all_to_all takes from products while it runs beside them, of
  double multiprocessors = 132;
  double dispatch_s = 42e-6, combine_s = 53e-6;  ///< of decoding's all_to_all, whatever its bytes
  static Cluster parse(ConfigNode node);
};

}  // namespace r1::pipeline
