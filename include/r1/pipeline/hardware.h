#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "r1/pipeline/cluster.h"

namespace r1::pipeline {

/// What a plan assumes of a device: a file of configs/hardware/, keys as the fields, where every figure has its source.
/// The defaults are configs/hardware/cpu.yaml.
struct Hardware {
  std::string name = "cpu";
  double memory_bytes = 0;          ///< of a device; 0: what this machine has
  double flops = 237e9;             ///< peak FLOP/s of matrix products, dense
  double bytes_per_s = 23e9;        ///< of its memory
  double network_bytes_per_s = 0;   ///< to devices of other machines
  double watts = 30;                ///< of a device with its share of the host
  double price_per_hour = 0.10;     ///< $
  double train_utilisation = 0.65;  ///< of flops: forward and backward
  double forward_utilisation = 0.65;    ///< of flops: prefill, reference, decoding in large batches
  double bandwidth_utilisation = 0.9;   ///< of bytes_per_s: decoding in small batches
  double decode_layer_s = 20e-6;    ///< of one layer in one decoding step, whatever the batch
  double exchange_s = 0;            ///< sending tokens to their experts and back, of one layer in one decoding step
  double weight_bytes = 4;          ///< of a number that products read
  double master_bytes = 0;          ///< of its copy in float32, when weight_bytes is less
  double gradient_bytes = 4;
  double moment_bytes = 8;          ///< both moments of AdamW
  double activation_bytes = 4;
  double cache_bytes = 4;           ///< of a number of the KV cache
  bool decoding_copies = true;      ///< weights are kept a second time for decoding
  std::optional<Cluster> cluster;   ///< links and kernels, where the file says them

  /// A GPU without a file of its own: the figures of configs/hardware/h100.yaml, with this name and memory.
  static Hardware of_gpu(const std::string& name, double memory_bytes);
  /// Throws Error with file:line:key.
  static Hardware load(const std::filesystem::path& file);
};

}  // namespace r1::pipeline
