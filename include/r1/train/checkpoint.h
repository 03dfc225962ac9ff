#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "r1/dist/communicator.h"
#include "r1/train/optimizer.h"
#include "r1/util/config.h"

namespace r1::train {

/// Tensors that belong together: "model", "reference", "optimizer".
struct CheckpointGroup {
  std::string name;      ///< lower-case letters, digits, '_' and '-'
  NamedTensors tensors;  ///< the same on every rank; any device and strides; each is saved in its own dtype
  std::vector<TensorSlice> slices = {};  ///< this rank's own, besides
};

/// Everything the next step depends on.
struct CheckpointContents {
  int64_t step = 0;  ///< optimizer updates done; names the folder
  std::vector<CheckpointGroup> groups;  ///< the same names on every rank
  nlohmann::json state;  ///< rank 0's becomes state.json; finite numbers and UTF-8 only, so that it reads back equal
  /// (file name, bytes) of rank 0, written beside the tensors. With config.json and the group "model" the folder is a HF
  /// directory that model::open_weights opens.
  std::vector<std::pair<std::string, std::string>> extra_files;
};

/// The `checkpoint:` section.
struct CheckpointPolicy {
  int64_t every_steps = 50;  ///< for the trainer: save after each such number of steps; 0: only at the end
  int64_t keep_last = 2;     ///< folders kept, the new one included; 0: all

  /// Keys as the fields. Throws Error with file:line:key.
  static CheckpointPolicy parse(ConfigNode node);
};

/// Writes `<dir>/step-000100/`: the groups' tensors, state.json, the extra files, and manifest.json with size
/// and XXH3-128 hash of each. Collective: `dir` is on a file system that all ranks share, and each rank writes
/// its part at the same time as the others, without sending tensors. A group lies in <group>.safetensors, or, where
/// several ranks write of it, in <group>-00001-of-00004.safetensors and so on; docs/checkpoints.md has the format.
/// With the group "model" whole and config.json the folder is a Hugging Face directory either way.
///
/// The folder is complete or absent at any moment (util's AtomicDirectory: written
/// aside, fsync, renamed); one of the same step is replaced in one step. Then the symbolic link
/// `<dir>/latest` is moved, and of the older folders all but the newest keep_last - 1 are removed (folders of
/// a larger step are left alone). One tensor at a time is copied, and only if it is not contiguous on the
/// CPU. The same contents on as many ranks give the same bytes. One run at a time may save into `dir`; leftovers
/// of a killed one are removed first. Sets the ranks' phase to "checkpoint"; the caller sets the next one.
///
/// Returns the folder on every rank. Throws Error when the free space is less than 1.05 times the bytes needed
/// (both figures are named, nothing was written), and for any failure of the disk; older checkpoints are
/// untouched then and no part of the new one stays. It throws on every rank: Error where something failed, naming
/// rank, file and reason, dist::FailedElsewhere on the others. c10::Error for a group, tensor or file name that
/// is not allowed or there twice, a dtype that safetensors lacks, tensors that are not the same on all ranks, and
/// slices that overlap or leave a gap. A failure to move `latest` or to remove an old folder is only logged.
std::filesystem::path save_checkpoint(const std::filesystem::path& dir, const CheckpointContents& contents,
                                      const CheckpointPolicy& policy, dist::Communicator& ranks);
/// For a program of one rank.
std::filesystem::path save_checkpoint(const std::filesystem::path& dir, const CheckpointContents& contents,
                                      const CheckpointPolicy& policy = {});

struct FoundCheckpoint {
  std::filesystem::path path;
  int64_t step = 0;
};

/// The newest complete checkpoint below `dir`, by the number in the folder's name: every file of its manifest
/// is there, of the right size and hash. `latest` is a hint for people and is not read.
///
/// A damaged one is refused with a logged warning that names path, file, what was found and what was
/// expected; the same text is appended to `damaged`; then the next older one is tried. Nothing found with
/// `damaged` not empty means that there was something to go on from: do not start over in silence. nullopt
/// also when `dir` does not exist. Throws Error when `dir` cannot be read.
std::optional<FoundCheckpoint> newest_checkpoint(const std::filesystem::path& dir,
                                                 std::vector<std::string>* damaged = nullptr);
/// The same, collective: files are verified by all ranks, each some of them, and every rank gets the same answer
/// and the same `damaged`; rank 0 logs. It throws on every rank, see Communicator::together.
std::optional<FoundCheckpoint> newest_checkpoint(const std::filesystem::path& dir, dist::Communicator& ranks,
                                                 std::vector<std::string>* damaged = nullptr);

/// What tells a saved group from another, from the hashes in the manifest: of one file its XXH3-128, of several the hash of theirs.
/// Throws Error when the manifest cannot be read or has no such group.
std::string group_hash(const std::filesystem::path& checkpoint, const std::string& group);

class CheckpointFiles;  // the open files of a group

/// An open checkpoint, whatever the number of ranks that wrote it or read it. Its files are memory-mapped, and
/// memory holds only what is asked for. A tensor that was saved in slices is put together.
class CheckpointReader {
 public:
  /// `path`: a checkpoint's folder (or a link to one). Verifies all of it first.
  /// Throws Error naming path, file, what was found and what was expected; also for slices of a tensor that
  /// overlap or leave a gap.
  explicit CheckpointReader(const std::filesystem::path& path);
  /// What newest_checkpoint found is verified already; sizes are checked again, hashes are not.
  explicit CheckpointReader(const FoundCheckpoint& found);

  const std::filesystem::path& path() const { return path_; }
  int64_t step() const { return step_; }
  const nlohmann::json& state() const { return state_; }

  std::vector<std::string> groups() const;  ///< sorted
  bool has_group(const std::string& group) const { return groups_.contains(group); }
  std::vector<std::string> names(const std::string& group) const;  ///< sorted
  std::vector<int64_t> shape(const std::string& group, const std::string& name) const;

  /// A new CPU tensor in the dtype that was saved. Throws Error naming file and tensor when absent.
  at::Tensor tensor(const std::string& group, const std::string& name) const;

  /// All tensors of a group without a copy: they alias the mapped file, which lives as long as one of them.
  /// Read only: writing to one ends the process. For a load that copies itself (AdamW::load_state).
  /// A tensor that was saved in slices is a copy, in memory.
  NamedTensors mapped(const std::string& group) const;

  /// Copies the saved values into `destination` (any device, strides or autograd state).
  /// Throws Error naming file, tensor and both shapes and dtypes unless they are equal; float32 may be read into bf16.
  void load_into(const std::string& group, const std::string& name, const at::Tensor& destination) const;

  /// Copies elements [begin, begin + destination.numel()) of the flattened tensor into the 1-D `destination`, whether
  /// it was saved whole or in slices, these or others. Throws Error naming file and tensor when it has fewer elements or another
  /// dtype (as load_into).
  void load_slice(const std::string& group, const std::string& name, int64_t begin, const at::Tensor& destination) const;

  /// load_into for a whole group. Throws Error, before anything is changed, for a mismatch, for a tensor that
  /// the file lacks and for one that `destinations` lacks. An undefined one is known and not read: another rank has it, or this one has
  /// `slices` of it, which are read too.
  void load_group(const std::string& group, const NamedTensors& destinations, const std::vector<TensorSlice>& slices = {}) const;

  /// "model/a.weight" of every tensor that one of the two lacks, or whose dtype, shape or bits differ, however many files each has.
  std::vector<std::string> differences(const CheckpointReader& other) const;

 private:
  void open(bool with_hashes);
  const CheckpointFiles& files(const std::string& group) const;

  std::filesystem::path path_;
  int64_t step_ = 0;
  nlohmann::json state_;
  std::map<std::string, std::shared_ptr<const CheckpointFiles>> groups_;
};

}  // namespace r1::train
