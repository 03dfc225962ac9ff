#include "checkpoint_files.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint_dtype.h"
#include "checkpoint_manifest.h"
#include "checkpoint_plan.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace {

[[noreturn]] void refuse(const SafetensorsFile& file, const std::string& tensor, const std::string& found) {
  throw Error(cat(file.path().string(), ": tensor '", tensor, "' ", found,
                  ".\n  The checkpoint is damaged or mixes files of two; go on from an older checkpoint."));
}

// Shapes of the tensors whose slices a file holds.
std::map<std::string, std::vector<int64_t>> slice_shapes(const SafetensorsFile& file) {
  const auto text = file.metadata().find(kSliceShapes);
  if (text == file.metadata().end()) return {};
  try {
    return nlohmann::json::parse(text->second).get<std::map<std::string, std::vector<int64_t>>>();
  } catch (const nlohmann::json::exception& e) {
    throw Error(cat(file.path().string(), ": the metadata '", kSliceShapes, "' is not JSON of shapes by name: ", e.what(),
                    ".\n  The checkpoint is damaged; go on from an older checkpoint."));
  }
}

int64_t num_elements(const TensorView& view) { return static_cast<int64_t>(view.bytes.size()) / tensor_dtype_bytes(view.dtype); }

// The piece where it lies in the mapped file, which it keeps alive.
at::Tensor alias(const StoredTensor::Piece& piece, at::ScalarType dtype, at::IntArrayRef shape) {
  const TensorView& view = *piece.view;
  const auto options = at::TensorOptions().dtype(dtype);
  if (view.bytes.empty()) return at::empty(shape, options);
  if (reinterpret_cast<uintptr_t>(view.bytes.data()) % tensor_dtype_bytes(view.dtype) != 0) {
    at::Tensor copy = at::empty(shape, options);  // a file of another program
    std::memcpy(copy.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    return copy;
  }
  // const_cast: mapped() says that its tensors are read only; all else copies from them.
  return at::from_blob(const_cast<std::byte*>(view.bytes.data()), shape, [file = piece.file](void*) {}, options);
}

void check_complete(StoredTensor& tensor) {
  std::sort(tensor.pieces.begin(), tensor.pieces.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  const CheckpointPart whole{tensor.name, tensor.shape, tensor.dtype, 0, 0};
  int64_t covered = 0;
  for (const auto& piece : tensor.pieces) {
    if (piece.begin != covered) {
      refuse(*piece.file, tensor.name, cat(piece.begin < covered ? "overlaps another slice of it: this one" : "lacks a slice: the next one", " begins at element ",
                                           piece.begin, ", those before it end at ", covered));
    }
    covered += num_elements(*piece.view);
  }
  const int64_t total = whole.num_elements();
  if (covered != total) refuse(*tensor.pieces.back().file, tensor.name, cat("has slices of ", covered, " elements together; expected: ", total));
}

}  // namespace

at::ScalarType StoredTensor::scalar_type() const {
  if (const auto type = aten_dtype(dtype)) return *type;
  throw Error(cat(path().string(), ": tensor '", name, "' is ", tensor_dtype_name(dtype), "; accepted: a dtype that this program saves."));
}

at::Tensor StoredTensor::values() const {
  if (pieces.size() == 1) return alias(pieces[0], scalar_type(), shape);
  at::Tensor all = at::empty(shape, at::TensorOptions().dtype(scalar_type()));
  copy_range(0, all.view(-1));
  return all;
}

void StoredTensor::copy_range(int64_t begin, const at::Tensor& destination) const {
  const at::NoGradGuard no_grad;
  const int64_t end = begin + destination.numel();
  for (const auto& piece : pieces) {
    const int64_t count = num_elements(*piece.view);
    const int64_t from = std::max(begin, piece.begin), to = std::min(end, piece.begin + count);
    if (from >= to) continue;
    destination.narrow(0, from - begin, to - from).copy_(alias(piece, scalar_type(), {count}).narrow(0, from - piece.begin, to - from));
  }
}

CheckpointFiles::CheckpointFiles(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    const auto& file = files_.emplace_back(std::make_shared<const SafetensorsFile>(folder / name));
    const auto shapes = slice_shapes(*file);
    for (const TensorView& view : file->tensors()) {
      StoredTensor tensor{view.name, view.dtype, view.shape, {}};
      int64_t begin = 0;
      const auto slice = parse_slice_entry(view.name);
      if (slice && shapes.contains(slice->first)) {
        std::tie(tensor.name, begin) = *slice;
        tensor.shape = shapes.at(slice->first);
      }
      auto& stored = tensors_.try_emplace(tensor.name, tensor).first->second;
      if (stored.dtype != tensor.dtype || stored.shape != tensor.shape) {
        refuse(*file, tensor.name, cat("is of ", tensor_dtype_name(tensor.dtype), " ", at::IntArrayRef(tensor.shape), " here and of ",
                                       tensor_dtype_name(stored.dtype), " ", at::IntArrayRef(stored.shape), " in ", stored.path().filename().string()));
      }
      stored.pieces.push_back({file, &view, begin});
    }
  }
  for (auto& [name, tensor] : tensors_) check_complete(tensor);
}

const StoredTensor& CheckpointFiles::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [other, tensor] : tensors_) names.push_back(other);
  const std::string near = nearest(name, names);
  throw Error(cat(description(), ": holds no tensor '", name, "' among its ", names.size(), near.empty() ? "." : cat(".\n  The nearest name is '", near, "'.")));
}

std::string CheckpointFiles::description() const {
  return cat(files_[0]->path().string(), files_.size() == 1 ? "" : cat(" and ", files_.size() - 1, " more"));
}

}  // namespace r1::train
