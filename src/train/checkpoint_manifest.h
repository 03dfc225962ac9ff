#pragma once
// What a checkpoint's folder is called and what its manifest.json says.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace r1::train {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kStateFile = "state.json";

std::string checkpoint_folder_name(int64_t step);  ///< 100: "step-000100"
/// The step of exactly such a name; nothing for any other.
std::optional<int64_t> checkpoint_step(const std::string& folder_name);

/// File `number` (1 ...) of `count`: "model.safetensors" when it is the only one, else "model-00002-of-00004.safetensors".
std::string group_file(const std::string& group, size_t number = 1, size_t count = 1);
inline std::string group_index_file(const std::string& group) { return group + ".safetensors.index.json"; }

/// Entry of a slice that begins at this element of the flattened tensor: "a.exp_avg@4096".
std::string slice_entry(const std::string& tensor, int64_t begin);
/// The tensor's name of such an entry, and where it begins; nothing for any other entry.
std::optional<std::pair<std::string, int64_t>> parse_slice_entry(const std::string& entry);
/// Key of a file's metadata: JSON of the whole shapes of the tensors whose slices it holds, {"a.exp_avg": [3, 5]}.
inline constexpr const char* kSliceShapes = "r1_slice_shapes";

struct ManifestEntry {
  uint64_t bytes = 0;
  std::string hash;  ///< XXH3-128, 32 hex digits
};

struct Manifest {
  int64_t step = 0;
  std::vector<std::string> groups;
  std::map<std::string, ManifestEntry> files;  ///< by name; all but manifest.json itself

  /// Names of the files that hold a group's tensors, in order; empty when one of them is not listed.
  std::vector<std::string> files_of(const std::string& group) const;
};

void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

/// Reads manifest.json and checks that it names groups, state.json and files of this folder alone, and the
/// step that the folder's name says. Throws Error naming path, what was found and what is accepted.
Manifest read_manifest(const std::filesystem::path& folder);

/// Throws Error naming the first file that is missing or has another size, or another hash, than expected.
void verify_sizes(const std::filesystem::path& folder, const Manifest& manifest);
void verify_hashes(const std::filesystem::path& folder, const Manifest& manifest);
void verify_hash(const std::filesystem::path& file, const ManifestEntry& expected);  ///< of one file

}  // namespace r1::train
