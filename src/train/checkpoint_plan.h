#pragma once
// Who writes what of a checkpoint: tensors and slices are dealt over the ranks and get their files.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "r1/dist/communicator.h"
#include "r1/train/checkpoint.h"
#include "r1/util/safetensors.h"

namespace r1::train {

/// Elements [begin, begin + count) of a flattened tensor; mostly all of them.
struct CheckpointPart {
  std::string name;
  std::vector<int64_t> shape;  ///< of the whole tensor
  TensorDtype dtype = TensorDtype::kF32;
  int64_t begin = 0, count = 0;

  int64_t num_elements() const;  ///< of the whole tensor
  bool whole() const { return begin == 0 && count == num_elements(); }
  uint64_t bytes() const { return static_cast<uint64_t>(count * tensor_dtype_bytes(dtype)); }
  /// The entry of a file: a whole tensor under its name with its shape, a slice as "<name>@<begin>", 1-D.
  TensorSpec entry() const;
};

CheckpointPart part_of(const TensorSlice& slice);

struct PlannedFile {
  std::string name;  ///< "optimizer-00002-of-00004.safetensors"
  int rank = 0;      ///< that writes it
  std::vector<CheckpointPart> parts;
};

struct PlannedGroup {
  std::string name;
  std::vector<PlannedFile> files;  ///< at least one; their ranks ascend
};

struct CheckpointPlan {
  std::vector<PlannedGroup> groups;

  uint64_t bytes() const;  ///< of all files, with what names, headers and files cost at least
  /// (name, text) of the Hugging Face index of each group that lies in several files and has no slices.
  std::map<std::string, std::string> indices() const;
};

/// The same plan on every rank; collective. A tensor that all ranks hold, or a slice that several hold, goes to the one of them with
/// the fewest bytes so far, the largest first. A rank that has nothing of a group gets no file of it.
/// Throws c10::Error, on every rank, when the ranks' groups or tensors differ, or when slices overlap or leave a gap.
CheckpointPlan plan_checkpoint(const CheckpointContents& contents, dist::Communicator& ranks);

}  // namespace r1::train
