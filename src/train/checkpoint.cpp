// Saves checkpoints and removes those that are no longer wanted.
#include "r1/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "checkpoint_dtype.h"
#include "checkpoint_manifest.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace fs = std::filesystem;

namespace {

void check_contents(const CheckpointContents& contents) {
  TORCH_CHECK(contents.step >= 0, "save_checkpoint: step is ", contents.step);
  std::set<std::string> files = {kManifestFile, kStateFile};
  for (const auto& group : contents.groups) {
    const bool allowed =
        group.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == std::string::npos;
    TORCH_CHECK(allowed && !group.name.empty(), "save_checkpoint: a group is called '", group.name, "'");
    TORCH_CHECK(files.insert(group_file(group.name)).second, "save_checkpoint: two groups are called '",
                group.name, "'");
    std::set<std::string> names;
    for (const auto& [name, tensor] : group.tensors) {
      TORCH_CHECK(names.insert(name).second, "save_checkpoint: two tensors of '", group.name,
                  "' are called '", name, "'");
      TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided && file_dtype(tensor.scalar_type()),
                  "save_checkpoint: tensor '", name, "' of '", group.name,
                  "' is undefined, sparse or of a dtype that safetensors lacks");
    }
  }
  for (const auto& [name, bytes] : contents.extra_files) {
    TORCH_CHECK(!name.empty() && name.front() != '.' && name.find('/') == std::string::npos,
                "save_checkpoint: an extra file is called '", name, "'");
    TORCH_CHECK(files.insert(name).second, "save_checkpoint: two files are called '", name, "'");
  }
}

// JSON has neither NaN nor infinities; null in their place would resume another run than the one saved.
void require_finite(const nlohmann::json& value, const std::string& place) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw Error(cat(kStateFile, ": ", place, " is ", value.get<double>(),
                    "; accepted: finite numbers, which read back as they were."));
  }
  if (!value.is_structured()) return;
  for (const auto& [key, child] : value.items()) require_finite(child, place + "/" + key);
}

std::string state_text(const nlohmann::json& state) {
  require_finite(state, "");
  try {
    return state.dump(1) + "\n";
  } catch (const nlohmann::json::exception& e) {
    throw Error(cat(kStateFile, ": cannot be written as JSON: ", e.what(), ".\n  Texts must be UTF-8."));
  }
}

// Data and names, and what a file costs at least.
uint64_t bytes_needed(const CheckpointContents& contents, const std::string& state) {
  constexpr uint64_t kBytesPerFile = 4096, kHeaderBytesPerTensor = 128;
  uint64_t bytes = state.size() + 2 * kBytesPerFile;
  for (const auto& group : contents.groups) {
    bytes += kBytesPerFile;
    for (const auto& [name, tensor] : group.tensors) {
      bytes += tensor.nbytes() + name.size() + kHeaderBytesPerTensor;
    }
  }
  for (const auto& [name, text] : contents.extra_files) bytes += text.size() + kBytesPerFile;
  return bytes + bytes / 20;
}

void write_group(const fs::path& file, const CheckpointGroup& group) {
  std::vector<TensorSpec> specs;
  std::map<std::string, const at::Tensor*> tensors;
  for (const auto& [name, tensor] : group.tensors) {
    specs.push_back({name, *file_dtype(tensor.scalar_type()), tensor.sizes().vec()});
    tensors[name] = &tensor;
  }
  SafetensorsWriter writer(file, std::move(specs), {{"format", "pt"}});  // transformers asks for it
  for (const TensorSpec& spec : writer.order()) {
    const at::Tensor tensor =
        tensors.at(spec.name)->detach().cpu().contiguous();  // sync: the bytes are needed
    writer.write({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  }
  writer.close();
}

void write_folder(const fs::path& target, const CheckpointContents& contents, const std::string& state) {
  AtomicDirectory folder(target);
  Manifest manifest;
  manifest.step = contents.step;
  const auto list = [&](const std::string& name) {
    const fs::path file = folder.staging() / name;
    manifest.files[name] = {fs::file_size(file), hash_file(file)};
  };
  for (const auto& group : contents.groups) {
    write_group(folder.staging() / group_file(group.name), group);
    list(group_file(group.name));
    manifest.groups.push_back(group.name);
  }
  write_file_atomic(folder.staging() / kStateFile, state);
  list(kStateFile);
  for (const auto& [name, bytes] : contents.extra_files) {
    write_file_atomic(folder.staging() / name, bytes);
    list(name);
  }
  write_manifest(folder.staging(), manifest);
  folder.commit();
}

std::vector<std::string> entries(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

bool has_ends(const std::string& name, const std::string& begin, const std::string& end) {
  return name.size() >= begin.size() + end.size() && name.rfind(begin, 0) == 0 &&
         name.compare(name.size() - end.size(), end.size(), end) == 0;
}

void remove_or_warn(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) log_warning(cat(path.string(), ": cannot remove it: ", error.message()));
}

// What a killed process left: half a folder of AtomicDirectory or of an interrupted removal, and the link
// that replace_symlink had not renamed yet.
void remove_leftovers(const fs::path& dir) {
  for (const std::string& name : entries(dir)) {
    if (has_ends(name, ".step-", ".partial") || has_ends(name, ".latest.", ".tmp"))
      remove_or_warn(dir / name);
  }
}

// A folder is renamed before it is removed, so that none that is half gone bears a checkpoint's name.
void remove_checkpoint(const fs::path& dir, const std::string& name) {
  const fs::path aside = dir / cat(".", name, ".partial");
  std::error_code error;
  fs::rename(dir / name, aside, error);
  if (error) {
    log_warning(cat((dir / name).string(), ": cannot remove this old checkpoint: ", error.message()));
    return;
  }
  remove_or_warn(aside);
}

void remove_old(const fs::path& dir, int64_t saved_step, int64_t keep_last) {
  std::vector<int64_t> older;
  for (const std::string& name : entries(dir)) {
    const auto step = checkpoint_step(name);
    if (step && *step < saved_step) older.push_back(*step);
    if (has_ends(name, ".step-", ".old")) remove_or_warn(dir / name);  // see newest_checkpoint
  }
  if (keep_last == 0) return;
  std::sort(older.begin(), older.end(), std::greater<>());
  for (size_t i = static_cast<size_t>(keep_last - 1); i < older.size(); ++i) {
    remove_checkpoint(dir, checkpoint_folder_name(older[i]));
  }
}

}  // namespace

CheckpointPolicy CheckpointPolicy::parse(ConfigNode node) {
  CheckpointPolicy c;
  node.read("every_steps", c.every_steps, at_least<int64_t>(0),
            "A checkpoint is saved after each such number of steps; 0: only at the end.");
  node.read("keep_last", c.keep_last, at_least<int64_t>(0),
            "2 or more leaves one to fall back to; 0 keeps all.");
  node.reject_unknown_keys();
  return c;
}

fs::path save_checkpoint(const fs::path& dir, const CheckpointContents& contents,
                         const CheckpointPolicy& policy) {
  TORCH_CHECK(policy.keep_last >= 0, "save_checkpoint: keep_last is ", policy.keep_last);
  check_contents(contents);
  const std::string name = checkpoint_folder_name(contents.step);
  try {
    const std::string state = state_text(contents.state);
    remove_leftovers(dir);
    require_free_space(dir, bytes_needed(contents, state), cat("the checkpoint of step ", contents.step));
    write_folder(dir / name, contents, state);
  } catch (const Error& e) {
    throw Error(
        cat((dir / name).string(), ": was not saved; older checkpoints are as they were.\n  ", e.what()));
  }
  try {
    replace_symlink(dir / "latest", name);
  } catch (const Error& e) {  // some file systems have no links, and nothing depends on this one
    log_warning(e.what());
  }
  remove_old(dir, contents.step, policy.keep_last);
  return dir / name;
}

}  // namespace r1::train
