#pragma once
// What a checkpoint's folder is called and what its manifest.json says.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace r1::train {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kStateFile = "state.json";

std::string checkpoint_folder_name(int64_t step);  ///< 100: "step-000100"
/// The step of exactly such a name; nothing for any other.
std::optional<int64_t> checkpoint_step(const std::string& folder_name);

inline std::string group_file(const std::string& group) { return group + ".safetensors"; }

struct ManifestEntry {
  uint64_t bytes = 0;
  std::string hash;  ///< XXH3-128, 32 hex digits
};

struct Manifest {
  int64_t step = 0;
  std::vector<std::string> groups;
  std::map<std::string, ManifestEntry> files;  ///< by name; all but manifest.json itself
};

void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

/// Reads manifest.json and checks that it names groups, state.json and files of this folder alone, and the
/// step that the folder's name says. Throws Error naming path, what was found and what is accepted.
Manifest read_manifest(const std::filesystem::path& folder);

/// Throws Error naming the first file that is missing or has another size, or another hash, than expected.
void verify_sizes(const std::filesystem::path& folder, const Manifest& manifest);
void verify_hashes(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace r1::train
