// Finds the newest checkpoint that is whole.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "checkpoint_manifest.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace fs = std::filesystem;
using nlohmann::json;

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

// Paths need not be UTF-8, JSON's texts must.
std::string text_of(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// Rank 0's value on every rank. Collective.
json of_first(const json& value, dist::Communicator& ranks, std::string_view what) {
  return json::parse(ranks.broadcast_bytes(ranks.is_first() ? text_of(value) : "", 0, what));
}

// Why this checkpoint cannot be used, on every rank; nothing for a whole one. Rank 0 reads the manifest and compares sizes; hashes are
// computed by all, each file by one rank, the largest files first. Collective.
std::optional<std::string> fault_of(const fs::path& folder, dist::Communicator& ranks) {
  Manifest manifest;
  json seen = {{"fault", nullptr}};
  if (ranks.is_first()) {
    try {
      manifest = read_manifest(folder);
      verify_sizes(folder, manifest);
      for (const auto& [name, entry] : manifest.files) seen["files"][name] = {entry.bytes, entry.hash};
    } catch (const Error& e) {
      seen["fault"] = e.what();
    }
  }
  seen = of_first(seen, ranks, "manifest of a checkpoint");
  if (!seen["fault"].is_null()) return seen["fault"].get<std::string>();

  std::vector<std::tuple<uint64_t, std::string, std::string>> files;
  for (const auto& [name, entry] : seen["files"].items()) files.emplace_back(entry[0], name, entry[1]);
  std::sort(files.begin(), files.end(), std::greater<>());
  std::vector<uint64_t> bytes_of_rank(static_cast<size_t>(ranks.size()));
  std::map<std::string, std::string> faults;  // by file
  for (const auto& [bytes, name, hash] : files) {
    const auto least = std::min_element(bytes_of_rank.begin(), bytes_of_rank.end());
    *least += bytes;
    if (least - bytes_of_rank.begin() != ranks.rank()) continue;
    try {
      verify_hash(folder / name, {bytes, hash});
    } catch (const Error& e) {
      faults[name] = e.what();
    }
  }
  for (const auto& text : ranks.all_gather_bytes(text_of(faults), "verified files of a checkpoint")) {
    faults.merge(json::parse(text).get<std::map<std::string, std::string>>());
  }
  if (faults.empty()) return std::nullopt;
  return faults.begin()->second;
}

}  // namespace

std::optional<FoundCheckpoint> newest_checkpoint(const fs::path& dir, dist::Communicator& ranks, std::vector<std::string>* damaged) {
  json found = json::array();
  ranks.together("listing the checkpoints", [&] {
    if (!ranks.is_first()) return;
    for (const Candidate& candidate : candidates(dir)) found.push_back({candidate.path.filename().string(), candidate.step});
  });
  found = of_first(found, ranks, "list of checkpoints");
  for (const auto& candidate : found) {
    const fs::path path = dir / candidate[0].get<std::string>();
    const auto fault = fault_of(path, ranks);
    if (!fault) return FoundCheckpoint{path, candidate[1]};
    if (ranks.is_first()) log_warning(*fault);
    if (damaged != nullptr) damaged->push_back(*fault);
  }
  return std::nullopt;
}

std::optional<FoundCheckpoint> newest_checkpoint(const fs::path& dir, std::vector<std::string>* damaged) {
  return newest_checkpoint(dir, *dist::single(), damaged);
}

}  // namespace r1::train
