#pragma once
// The open files of one group of a checkpoint: which tensor lies where, whole or in slices.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "r1/util/safetensors.h"

namespace r1::train {

/// A tensor of a group, complete.
struct StoredTensor {
  struct Piece {
    std::shared_ptr<const SafetensorsFile> file;
    const TensorView* view;
    int64_t begin;  ///< element of the flattened tensor
  };
  std::string name;
  TensorDtype dtype = TensorDtype::kF32;
  std::vector<int64_t> shape;
  std::vector<Piece> pieces;  ///< ascending, without gap; one when it was saved whole

  const std::filesystem::path& path() const { return pieces.front().file->path(); }  ///< of the first piece
  /// Throws Error naming file and tensor for a dtype that this program does not save.
  at::ScalarType scalar_type() const;
  /// Read only: where it lies in the mapped file, which it keeps alive, or of several pieces a copy.
  at::Tensor values() const;
  /// Elements [begin, begin + destination.numel()) into the 1-D destination, on any device.
  void copy_range(int64_t begin, const at::Tensor& destination) const;
};

class CheckpointFiles {
 public:
  /// Throws Error naming file and tensor when slices overlap or leave a gap, or when files disagree about a tensor.
  CheckpointFiles(const std::filesystem::path& folder, const std::vector<std::string>& names);

  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  /// Throws Error naming the files and the nearest name when absent.
  const StoredTensor& at(const std::string& name) const;
  std::string description() const;  ///< "a/model-00001-of-00003.safetensors and 2 more"

 private:
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace r1::train
