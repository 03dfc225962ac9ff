// Saves checkpoints and removes those that are no longer wanted.
#include "r1/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "checkpoint_dtype.h"
#include "checkpoint_manifest.h"
#include "checkpoint_plan.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace fs = std::filesystem;

namespace {

void check_name(const std::string& group, const std::string& name, const at::Tensor& tensor) {
  TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided && file_dtype(tensor.scalar_type()), "save_checkpoint: tensor '", name, "' of '",
              group, "' is undefined, sparse or of a dtype that safetensors lacks");
  TORCH_CHECK(name.find('@') == std::string::npos, "save_checkpoint: tensor '", name, "' of '", group, "' has an '@', which stands before a slice's begin");
}

// What this rank alone can tell.
void check_contents(const CheckpointContents& contents) {
  TORCH_CHECK(contents.step >= 0, "save_checkpoint: step is ", contents.step);
  std::set<std::string> files = {kManifestFile, kStateFile};
  for (const auto& group : contents.groups) {
    const bool allowed = group.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == std::string::npos &&
                         group.name.find("-of-") == std::string::npos;  // as in the names of several files
    TORCH_CHECK(allowed && !group.name.empty(), "save_checkpoint: a group is called '", group.name, "'");
    TORCH_CHECK(files.insert(group_file(group.name)).second, "save_checkpoint: two groups are called '",
                group.name, "'");
    std::set<std::string> names;
    for (const auto& [name, tensor] : group.tensors) {
      TORCH_CHECK(names.insert(name).second, "save_checkpoint: two tensors of '", group.name,
                  "' are called '", name, "'");
      check_name(group.name, name, tensor);
    }
    std::set<std::pair<std::string, int64_t>> slices;
    for (const auto& slice : group.slices) {
      check_name(group.name, slice.name, slice.values);
      TORCH_CHECK(slice.values.dim() == 1 && slice.begin >= 0, "save_checkpoint: a slice of '", slice.name, "' of '", group.name, "' is ",
                  slice.values.sizes(), " and begins at ", slice.begin, "; it must be 1-D and begin at 0 or later");
      TORCH_CHECK(slice.values.numel() == 0 || slices.insert({slice.name, slice.begin}).second, "save_checkpoint: two slices of '", slice.name, "' of '",
                  group.name, "' begin at ", slice.begin);
    }
  }
  for (const auto& [name, bytes] : contents.extra_files) {
    TORCH_CHECK(!name.empty() && name.front() != '.' && name.find('/') == std::string::npos && name.find(".safetensors") == std::string::npos,
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

// Tensors, texts, and what a file costs at least.
uint64_t bytes_needed(const CheckpointPlan& plan, const CheckpointContents& contents, const std::string& state) {
  constexpr uint64_t kBytesPerFile = 4096;
  uint64_t bytes = plan.bytes() + state.size() + 2 * kBytesPerFile;
  for (const auto& [name, text] : plan.indices()) bytes += text.size() + kBytesPerFile;
  for (const auto& [name, text] : contents.extra_files) bytes += text.size() + kBytesPerFile;
  return bytes + bytes / 20;
}

void write_tensors(const fs::path& path, const CheckpointGroup& group, const PlannedFile& file) {
  std::map<std::string, const at::Tensor*> tensors;  // of this rank, by name of their entry
  for (const auto& [name, tensor] : group.tensors) tensors[name] = &tensor;
  for (const auto& slice : group.slices) tensors[part_of(slice).entry().name] = &slice.values;
  std::vector<TensorSpec> specs;
  nlohmann::json slice_shapes = nlohmann::json::object();
  for (const auto& part : file.parts) {
    specs.push_back(part.entry());
    if (!part.whole()) slice_shapes[part.name] = part.shape;
  }
  std::map<std::string, std::string> metadata = {{"format", "pt"}};  // transformers asks for it
  if (!slice_shapes.empty()) metadata[kSliceShapes] = slice_shapes.dump();
  SafetensorsWriter writer(path, std::move(specs), metadata);
  for (const TensorSpec& spec : writer.order()) {
    const at::Tensor tensor =
        tensors.at(spec.name)->detach().cpu().contiguous();  // sync: the bytes are needed
    writer.write({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  }
  writer.close();
}

// This rank's files, and of rank 0 the texts, in the folder that rank 0 has made.
std::map<std::string, ManifestEntry> write_own(const fs::path& folder, const CheckpointPlan& plan, const CheckpointContents& contents,
                                               const std::string& state, const dist::Communicator& ranks) {
  if (!fs::is_directory(folder)) {
    throw Error(cat(folder.string(), ": rank 0 has made this folder, but it is not here.\n  All ranks must see the same run directory: put it on a file system "
                    "that all machines share."));
  }
  std::map<std::string, ManifestEntry> written;
  const auto list = [&](const std::string& name) {
    const fs::path file = folder / name;
    written[name] = {fs::file_size(file), hash_file(file)};
  };
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    for (const auto& file : plan.groups[g].files) {
      if (file.rank != ranks.rank()) continue;
      write_tensors(folder / file.name, contents.groups[g], file);
      list(file.name);
    }
  }
  if (!ranks.is_first()) return written;
  auto texts = plan.indices();
  texts[kStateFile] = state;
  texts.insert(contents.extra_files.begin(), contents.extra_files.end());
  for (const auto& [name, bytes] : texts) {
    write_file_atomic(folder / name, bytes);
    list(name);
  }
  return written;
}

// What every rank has written, on every rank. Collective.
std::map<std::string, ManifestEntry> gather_written(const std::map<std::string, ManifestEntry>& mine, dist::Communicator& ranks) {
  nlohmann::json text = nlohmann::json::array();
  for (const auto& [name, entry] : mine) text.push_back({name, entry.bytes, entry.hash});
  std::map<std::string, ManifestEntry> all;
  for (const auto& of_rank : ranks.all_gather_bytes(text.dump(), "a checkpoint's sizes and hashes")) {
    for (const auto& entry : nlohmann::json::parse(of_rank)) all[entry[0]] = {entry[1], entry[2]};
  }
  return all;
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
                         const CheckpointPolicy& policy, dist::Communicator& ranks) {
  TORCH_CHECK(policy.keep_last >= 0, "save_checkpoint: keep_last is ", policy.keep_last);
  ranks.set_phase("checkpoint");
  check_contents(contents);
  const CheckpointPlan plan = plan_checkpoint(contents, ranks);
  const std::string name = checkpoint_folder_name(contents.step);
  const fs::path target = dir / name;
  // Each part is done by all ranks or fails on all. Then the unwinding of rank 0 removes the folder: nobody writes into it any more.
  const auto together = [&](std::string_view what, const std::function<void()>& work) {
    ranks.together(what, [&] {
      std::string reason;
      try {
        work();
        return;
      } catch (const Error& e) {
        reason = e.what();
      } catch (const c10::Error& e) {  // of a copy from a device
        reason = e.what_without_backtrace();
      } catch (const std::exception& e) {
        reason = e.what();
      }
      throw Error(cat(target.string(), ": was not saved; older checkpoints are as they were.\n  ",
                      ranks.alone() ? "" : cat("Rank ", ranks.rank(), " of ", ranks.size(), ": "), reason));
    });
  };

  std::string state;
  std::optional<AtomicDirectory> folder;  // rank 0's
  together("making a checkpoint's folder", [&] {
    if (!ranks.is_first()) return;
    state = state_text(contents.state);
    remove_leftovers(dir);
    require_free_space(dir, bytes_needed(plan, contents, state), cat("the checkpoint of step ", contents.step));
    folder.emplace(target);
  });
  const fs::path staging = ranks.broadcast_bytes(folder ? folder->staging().string() : "", 0, "a checkpoint's folder");
  Manifest manifest{contents.step, {}, {}};
  together("writing a checkpoint's tensors", [&] { manifest.files = write_own(staging, plan, contents, state, ranks); });
  manifest.files = gather_written(manifest.files, ranks);
  for (const auto& group : contents.groups) manifest.groups.push_back(group.name);
  together("committing a checkpoint", [&] {
    if (!ranks.is_first()) return;
    write_manifest(staging, manifest);
    folder->commit();
  });
  if (ranks.is_first()) {
    try {
      replace_symlink(dir / "latest", name);
    } catch (const Error& e) {  // some file systems have no links, and nothing depends on this one
      log_warning(e.what());
    }
    remove_old(dir, contents.step, policy.keep_last);
  }
  return target;
}

fs::path save_checkpoint(const fs::path& dir, const CheckpointContents& contents, const CheckpointPolicy& policy) {
  return save_checkpoint(dir, contents, policy, *dist::single());
}

}  // namespace r1::train
