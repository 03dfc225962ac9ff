// Finds, verifies and reads checkpoints.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "checkpoint_dtype.h"
#include "checkpoint_manifest.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace fs = std::filesystem;

namespace {

struct Candidate {
  int64_t step;
  bool in_place;  // false: ".step-000100.old"
  fs::path path;
};

// Newest first. Where the file system cannot swap two folders, AtomicDirectory replaces one by two renames; a
// process killed between them leaves the complete older version as ".step-000100.old" alone.
std::vector<Candidate> candidates(const fs::path& dir) {
  std::vector<Candidate> found;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  if (error == std::errc::no_such_file_or_directory) return found;
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (const auto step = checkpoint_step(name)) found.push_back({*step, true, it->path()});
    if (name.size() > 5 && name.front() == '.' && name.substr(name.size() - 4) == ".old") {
      if (const auto step = checkpoint_step(name.substr(1, name.size() - 5))) {
        found.push_back({*step, false, it->path()});
      }
    }
  }
  if (error) {
    throw Error(cat(dir.string(), ": cannot list the checkpoints: ", error.message(),
                    ".\n  Accepted: a folder that can be read. Check the path, its owner and its mode."));
  }
  std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.step, a.in_place) > std::tie(b.step, b.in_place);
  });
  return found;
}

// The tensor where it lies in the mapped file, which it keeps alive.
at::Tensor alias(const std::shared_ptr<const SafetensorsFile>& file, const TensorView& view) {
  const auto dtype = aten_dtype(view.dtype);
  if (!dtype) {
    throw Error(cat(file->path().string(), ": tensor '", view.name, "' is ", tensor_dtype_name(view.dtype),
                    "; accepted: a dtype that this program saves."));
  }
  const auto options = at::TensorOptions().dtype(*dtype);
  if (view.bytes.empty()) return at::empty(view.shape, options);
  if (reinterpret_cast<uintptr_t>(view.bytes.data()) % tensor_dtype_bytes(view.dtype) != 0) {
    at::Tensor copy = at::empty(view.shape, options);  // a file of another program
    std::memcpy(copy.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    return copy;
  }
  // const_cast: mapped() says that its tensors are read only; all else copies from them.
  return at::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, [file](void*) {}, options);
}

std::string describe(at::ScalarType dtype, at::IntArrayRef shape) { return cat(dtype, " ", shape); }

void check_same(const fs::path& file, const at::Tensor& saved, const std::string& name,
                const at::Tensor& destination) {
  TORCH_CHECK(destination.defined(), "checkpoint: the destination of '", name, "' is undefined");
  // A checkpoint holds float32 weights; a model on a device computes with bf16 copies of them.
  const bool copy = saved.scalar_type() == at::kFloat && destination.scalar_type() == at::kBFloat16;
  if (saved.sizes() == destination.sizes() && (copy || saved.scalar_type() == destination.scalar_type())) return;
  throw Error(cat(file.string(), ": tensor '", name, "' is ", describe(saved.scalar_type(), saved.sizes()),
                  " in the checkpoint; expected: ", describe(destination.scalar_type(), destination.sizes()),
                  ".\n  The config describes another model or dtype than the one that was saved; resume with "
                  "the run's own config."));
}

}  // namespace

std::optional<FoundCheckpoint> newest_checkpoint(const fs::path& dir, std::vector<std::string>* damaged) {
  for (const Candidate& candidate : candidates(dir)) {
    try {
      const Manifest manifest = read_manifest(candidate.path);
      verify_sizes(candidate.path, manifest);
      verify_hashes(candidate.path, manifest);
      return FoundCheckpoint{candidate.path, candidate.step};
    } catch (const Error& e) {
      log_warning(e.what());
      if (damaged != nullptr) damaged->push_back(e.what());
    }
  }
  return std::nullopt;
}

CheckpointReader::CheckpointReader(const fs::path& path) : path_(path) { open(true); }
CheckpointReader::CheckpointReader(const FoundCheckpoint& found) : path_(found.path) { open(false); }

void CheckpointReader::open(bool with_hashes) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "checkpoints/step-000100/"
  const Manifest manifest = read_manifest(path_);
  verify_sizes(path_, manifest);
  if (with_hashes) verify_hashes(path_, manifest);
  step_ = manifest.step;
  try {
    state_ = nlohmann::json::parse(read_file(path_ / kStateFile));
  } catch (const nlohmann::json::exception& e) {
    throw Error(cat((path_ / kStateFile).string(), ": is not JSON: ", e.what()));
  }
  for (const std::string& group : manifest.groups) {
    groups_[group] = std::make_shared<const SafetensorsFile>(path_ / group_file(group));
  }
}

const std::shared_ptr<const SafetensorsFile>& CheckpointReader::file(const std::string& group) const {
  const auto it = groups_.find(group);
  if (it != groups_.end()) return it->second;
  std::vector<std::string> names;
  for (const auto& [name, file] : groups_) names.push_back(name);
  throw Error(cat(path_.string(), ": the checkpoint has no '", group,
                  "' tensors; it holds: ", join(names, ", "),
                  ".\n  It was saved by a run with other settings; resume with the run's own config."));
}

std::vector<std::string> CheckpointReader::names(const std::string& group) const {
  std::vector<std::string> names;
  for (const TensorView& view : file(group)->tensors()) names.push_back(view.name);
  return names;
}

at::Tensor CheckpointReader::tensor(const std::string& group, const std::string& name) const {
  return alias(file(group), file(group)->at(name)).clone();
}

NamedTensors CheckpointReader::mapped(const std::string& group) const {
  NamedTensors tensors;
  for (const TensorView& view : file(group)->tensors())
    tensors.emplace_back(view.name, alias(file(group), view));
  return tensors;
}

void CheckpointReader::load_into(const std::string& group, const std::string& name,
                                 const at::Tensor& destination) const {
  const at::Tensor saved = alias(file(group), file(group)->at(name));
  check_same(file(group)->path(), saved, name, destination);
  const at::NoGradGuard no_grad;
  destination.copy_(saved);
}

void CheckpointReader::load_group(const std::string& group, const NamedTensors& destinations) const {
  const auto& source = file(group);
  std::set<std::string> wanted;
  for (const auto& [name, destination] : destinations) {
    check_same(source->path(), alias(source, source->at(name)), name, destination);
    TORCH_CHECK(wanted.insert(name).second, "checkpoint: two destinations are called '", name, "'");
  }
  for (const TensorView& view : source->tensors()) {
    if (wanted.contains(view.name)) continue;
    throw Error(cat(
        source->path().string(), ": holds a tensor '", view.name, "' that this run does not have; it has ",
        destinations.size(), " of the file's ", source->tensors().size(),
        ".\n  The config describes another model than the one that was saved; resume with the run's "
        "own config."));
  }
  for (const auto& [name, destination] : destinations) load_into(group, name, destination);
}

}  // namespace r1::train
