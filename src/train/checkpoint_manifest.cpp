#include "checkpoint_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kFormat = "r1 checkpoint";
constexpr int64_t kVersion = 1;
constexpr size_t kDigits = 6;  // more where the step has more
constexpr const char* kRefused =
    "The checkpoint is damaged or incomplete and is not used; copy the file from a backup or go on from an "
    "older checkpoint.";

[[noreturn]] void refuse(const fs::path& file, const std::string& found) {
  throw Error(cat(file.string(), ": ", found, ".\n  ", kRefused));
}

// A name that cannot leave the folder.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

uint64_t unsigned_at(const json& object, const char* key, const fs::path& file) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number_unsigned()) {
    refuse(file, cat("'", key, "' is ", it == object.end() ? "missing" : it->dump(),
                     "; expected: an integer, 0 or more"));
  }
  return it->get<uint64_t>();
}

std::string digits(size_t number, size_t width) {
  const std::string text = std::to_string(number);
  return std::string(width - std::min(width, text.size()), '0') + text;
}

// NNNNN of "<group>-*-of-NNNNN.safetensors"; 0 for any other name.
size_t count_in_name(const std::string& file, const std::string& group) {
  const std::string begin = group + "-", end = ".safetensors";
  if (!file.starts_with(begin) || !file.ends_with(end)) return 0;
  const size_t of = file.rfind("-of-");
  if (of == std::string::npos || of < begin.size()) return 0;
  const std::string number = file.substr(begin.size(), of - begin.size());
  const std::string count = file.substr(of + 4, file.size() - end.size() - of - 4);
  for (const auto& text : {number, count}) {
    if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return 0;
  }
  return std::stoul(count);
}

}  // namespace

std::string group_file(const std::string& group, size_t number, size_t count) {
  if (count == 1) return group + ".safetensors";
  return cat(group, "-", digits(number, 5), "-of-", digits(count, 5), ".safetensors");
}

std::string slice_entry(const std::string& tensor, int64_t begin) { return cat(tensor, "@", begin); }

std::optional<std::pair<std::string, int64_t>> parse_slice_entry(const std::string& entry) {
  const size_t at = entry.rfind('@');
  if (at == std::string::npos) return std::nullopt;
  const std::string begin = entry.substr(at + 1);
  if (begin.empty() || begin.size() > 18 || begin.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::pair{entry.substr(0, at), static_cast<int64_t>(std::stoll(begin))};
}

std::vector<std::string> Manifest::files_of(const std::string& group) const {
  if (files.contains(group_file(group))) return {group_file(group)};
  std::vector<std::string> names;
  for (auto it = files.lower_bound(group + "-"); it != files.end() && it->first.starts_with(group + "-"); ++it) {
    const size_t count = count_in_name(it->first, group);
    if (count < 2 || count > files.size()) continue;
    for (size_t number = 1; number <= count; ++number) names.push_back(group_file(group, number, count));
    break;
  }
  const bool complete = std::all_of(names.begin(), names.end(), [&](const auto& name) { return files.contains(name); });
  return complete ? names : std::vector<std::string>();
}

std::string checkpoint_folder_name(int64_t step) {
  return "step-" + digits(static_cast<size_t>(step), kDigits);
}

std::optional<int64_t> checkpoint_step(const std::string& folder_name) {
  if (folder_name.rfind("step-", 0) != 0) return std::nullopt;
  const std::string digits = folder_name.substr(5);
  if (digits.empty() || digits.size() > 18) return std::nullopt;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const int64_t step = std::stoll(digits);
  if (checkpoint_folder_name(step) != folder_name) return std::nullopt;  // "step-1" is nothing we wrote
  return step;
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  json files = json::object();
  for (const auto& [name, entry] : manifest.files) {
    files[name] = {{"bytes", entry.bytes}, {"xxh3_128", entry.hash}};
  }
  const json text = {{"format", kFormat},
                     {"version", kVersion},
                     {"step", manifest.step},
                     {"groups", manifest.groups},
                     {"files", files}};
  write_file_atomic(folder / kManifestFile, text.dump(1) + "\n");
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path file = folder / kManifestFile;
  std::error_code error;
  if (!fs::exists(file, error) && !error) {
    refuse(file, "is missing; expected: the list of the checkpoint's files with size and hash");
  }
  json text;
  try {
    text = json::parse(read_file(file));
  } catch (const json::exception& e) {
    refuse(file, cat("is not JSON: ", e.what()));
  }
  if (!text.is_object() || text.value("format", json()) != kFormat) {
    refuse(file, cat("'format' is not \"", kFormat, "\""));
  }
  if (text.value("version", json()) != kVersion) {
    refuse(file, cat("'version' is ", text.value("version", json()).dump(), "; accepted: ", kVersion));
  }
  const json groups = text.value("groups", json()), files = text.value("files", json());
  if (!groups.is_array() || !files.is_object()) {
    refuse(file, "'groups' or 'files' is missing; expected: a list of names and an object of files");
  }

  Manifest manifest;
  manifest.step = static_cast<int64_t>(unsigned_at(text, "step", file));
  const auto named_step = checkpoint_step(folder.filename().string());
  if (named_step && *named_step != manifest.step) {
    refuse(file, cat("'step' is ", manifest.step, "; expected from the folder's name: ", *named_step));
  }
  for (const auto& [name, entry] : files.items()) {
    if (!is_plain_name(name)) refuse(file, cat("lists '", name, "'; accepted: names of files in its folder"));
    const json hash = entry.is_object() ? entry.value("xxh3_128", json()) : json();
    if (!hash.is_string()) refuse(file, cat("has no hash of '", name, "'"));
    manifest.files[name] = {unsigned_at(entry, "bytes", file), hash.get<std::string>()};
  }
  for (const json& group : groups) {
    if (!group.is_string()) refuse(file, "'groups' holds something that is no name");
    manifest.groups.push_back(group.get<std::string>());
    if (manifest.files_of(manifest.groups.back()).empty()) {
      refuse(file, cat("lists the group '", manifest.groups.back(), "' but not its file or files"));
    }
  }
  if (!manifest.files.contains(kStateFile)) refuse(file, cat("does not list ", kStateFile));
  return manifest;
}

void verify_sizes(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, entry] : manifest.files) {
    const fs::path file = folder / name;
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (status.type() == fs::file_type::not_found) {
      refuse(file, cat("is missing; expected: ", entry.bytes, " bytes"));
    }
    if (error) refuse(file, cat("cannot be read: ", error.message()));
    if (!fs::is_regular_file(status)) refuse(file, "is not a regular file");  // a pipe would never end
    const uint64_t found = fs::file_size(file, error);
    if (error) refuse(file, cat("cannot be read: ", error.message()));
    if (found != entry.bytes) {
      refuse(file, cat("has ", found, " bytes; expected: ", entry.bytes,
                       found < entry.bytes ? " (it is cut off)" : ""));
    }
  }
}

void verify_hash(const fs::path& file, const ManifestEntry& expected) {
  const std::string found = hash_file(file);
  if (found != expected.hash) refuse(file, cat("has the XXH3-128 hash ", found, "; expected: ", expected.hash));
}

void verify_hashes(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, entry] : manifest.files) verify_hash(folder / name, entry);
}

}  // namespace r1::train
