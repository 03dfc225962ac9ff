// Reads checkpoints.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <set>

#include "checkpoint_files.h"
#include "checkpoint_manifest.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace fs = std::filesystem;

namespace {

std::string describe(at::ScalarType dtype, at::IntArrayRef shape) { return cat(dtype, " ", shape); }

// A checkpoint holds float32 weights; a model on a device computes with bf16 copies of them.
bool can_load(at::ScalarType saved, at::ScalarType destination) {
  return saved == destination || (saved == at::kFloat && destination == at::kBFloat16);
}

void check_same(const StoredTensor& saved, const at::Tensor& destination) {
  TORCH_CHECK(destination.defined(), "checkpoint: the destination of '", saved.name, "' is undefined");
  if (destination.sizes() == saved.shape && can_load(saved.scalar_type(), destination.scalar_type())) return;
  throw Error(cat(saved.path().string(), ": tensor '", saved.name, "' is ", describe(saved.scalar_type(), saved.shape),
                  " in the checkpoint; expected: ", describe(destination.scalar_type(), destination.sizes()),
                  ".\n  The config describes another model or dtype than the one that was saved; resume with "
                  "the run's own config."));
}

void copy_all(const StoredTensor& saved, const at::Tensor& destination) {
  const at::NoGradGuard no_grad;
  if (saved.pieces.size() > 1 && destination.is_contiguous()) {
    saved.copy_range(0, destination.view(-1));
  } else {
    destination.copy_(saved.values());
  }
}

bool same_bits(const StoredTensor& a, const StoredTensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  const at::Tensor x = a.values(), y = b.values();
  return x.numel() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

}  // namespace

std::string group_hash(const fs::path& checkpoint, const std::string& group) {
  const Manifest manifest = read_manifest(checkpoint);
  const auto names = manifest.files_of(group);
  if (names.empty()) throw Error(cat((checkpoint / kManifestFile).string(), ": lists no tensors '", group, "'; it lists: ", join(manifest.groups, ", ")));
  if (names.size() == 1) return manifest.files.at(names[0]).hash;
  std::string hashes;
  for (const auto& name : names) hashes += manifest.files.at(name).hash;
  return hash_bytes(hashes);
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
    groups_[group] = std::make_shared<const CheckpointFiles>(path_, manifest.files_of(group));
  }
}

const CheckpointFiles& CheckpointReader::files(const std::string& group) const {
  const auto it = groups_.find(group);
  if (it != groups_.end()) return *it->second;
  throw Error(cat(path_.string(), ": the checkpoint has no '", group,
                  "' tensors; it holds: ", join(groups(), ", "),
                  ".\n  It was saved by a run with other settings; resume with the run's own config."));
}

std::vector<std::string> CheckpointReader::groups() const {
  std::vector<std::string> names;
  for (const auto& [name, files] : groups_) names.push_back(name);
  return names;
}

std::vector<std::string> CheckpointReader::names(const std::string& group) const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : files(group).tensors()) names.push_back(name);
  return names;
}

std::vector<int64_t> CheckpointReader::shape(const std::string& group, const std::string& name) const {
  return files(group).at(name).shape;
}

at::Tensor CheckpointReader::tensor(const std::string& group, const std::string& name) const {
  const StoredTensor& saved = files(group).at(name);
  return saved.pieces.size() == 1 ? saved.values().clone() : saved.values();
}

NamedTensors CheckpointReader::mapped(const std::string& group) const {
  NamedTensors tensors;
  for (const auto& [name, tensor] : files(group).tensors()) tensors.emplace_back(name, tensor.values());
  return tensors;
}

void CheckpointReader::load_into(const std::string& group, const std::string& name,
                                 const at::Tensor& destination) const {
  const StoredTensor& saved = files(group).at(name);
  check_same(saved, destination);
  copy_all(saved, destination);
}

void CheckpointReader::load_slice(const std::string& group, const std::string& name, int64_t begin, const at::Tensor& destination) const {
  TORCH_CHECK(destination.defined() && destination.dim() == 1 && begin >= 0, "checkpoint: the destination of a slice of '", name,
              "' must be 1-D, and the slice begin at 0 or later");
  const StoredTensor& saved = files(group).at(name);
  const int64_t total = c10::multiply_integers(saved.shape);
  if (begin > total || destination.numel() > total - begin || !can_load(saved.scalar_type(), destination.scalar_type())) {
    throw Error(cat(saved.path().string(), ": tensor '", name, "' is ", describe(saved.scalar_type(), saved.shape), " in the checkpoint, of ", total,
                    " elements; expected: ", toString(destination.scalar_type()), " with elements ", begin, " to ", begin + destination.numel(),
                    ".\n  The config describes another model or dtype than the one that was saved; resume with the run's own config."));
  }
  saved.copy_range(begin, destination);
}

void CheckpointReader::load_group(const std::string& group, const NamedTensors& destinations, const std::vector<TensorSlice>& slices) const {
  const CheckpointFiles& source = files(group);
  std::set<std::string> wanted;
  for (const auto& [name, destination] : destinations) {
    if (destination.defined()) check_same(source.at(name), destination);
    TORCH_CHECK(wanted.insert(name).second, "checkpoint: two destinations are called '", name, "'");
  }
  for (const auto& [name, tensor] : source.tensors()) {
    if (wanted.contains(name)) continue;
    throw Error(cat(
        tensor.path().string(), ": holds a tensor '", name, "' that this run does not have; it has ",
        destinations.size(), " of the ", source.tensors().size(), " of '", group,
        "'.\n  The config describes another model than the one that was saved; resume with the run's "
        "own config."));
  }
  for (const auto& slice : slices) {
    const StoredTensor& saved = source.at(slice.name);
    if (saved.shape == slice.shape) continue;
    throw Error(cat(saved.path().string(), ": tensor '", slice.name, "' is ", describe(saved.scalar_type(), saved.shape), " in the checkpoint; expected: ",
                    at::IntArrayRef(slice.shape),
                    ".\n  The config describes another model than the one that was saved; resume with the run's own config."));
  }
  for (const auto& [name, destination] : destinations) {
    if (destination.defined()) copy_all(source.at(name), destination);
  }
  for (const auto& slice : slices) load_slice(group, slice.name, slice.begin, slice.values);
}

std::vector<std::string> CheckpointReader::differences(const CheckpointReader& other) const {
  std::set<std::pair<std::string, std::string>> all;
  for (const auto* reader : {this, &other}) {
    for (const auto& [group, files] : reader->groups_) {
      for (const auto& [name, tensor] : files->tensors()) all.emplace(group, name);
    }
  }
  const auto find = [](const CheckpointReader& reader, const std::string& group, const std::string& name) -> const StoredTensor* {
    const auto files = reader.groups_.find(group);
    if (files == reader.groups_.end()) return nullptr;
    const auto tensor = files->second->tensors().find(name);
    return tensor == files->second->tensors().end() ? nullptr : &tensor->second;
  };
  std::vector<std::string> names;
  for (const auto& [group, name] : all) {
    const auto *a = find(*this, group, name), *b = find(other, group, name);
    if (a == nullptr || b == nullptr || !same_bits(*a, *b)) names.push_back(cat(group, "/", name));
  }
  return names;
}

}  // namespace r1::train
