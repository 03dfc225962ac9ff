#include "checkpoint_plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>

#include "checkpoint_dtype.h"
#include "checkpoint_manifest.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::train {

using nlohmann::json;

namespace {

// A part and the ranks that could write it; none named: all could.
struct Held {
  CheckpointPart part;
  std::vector<int> holders;
};

// A line for each thing that all ranks must have alike.
std::vector<std::string> common_lines(const CheckpointContents& contents) {
  std::vector<std::string> lines{cat("step ", contents.step)};
  for (const auto& group : contents.groups) {
    lines.push_back(cat("the group '", group.name, "'"));
    for (const auto& [name, tensor] : group.tensors) {
      lines.push_back(cat("'", name, "' of '", group.name, "', ", tensor.scalar_type(), " ", tensor.sizes()));
    }
  }
  return lines;
}

// Collective. The lines travel only when they differ.
void check_common(const CheckpointContents& contents, dist::Communicator& ranks) {
  const auto mine = common_lines(contents);
  const auto hashes = ranks.all_gather_bytes(hash_bytes(join(mine, "\n")), "hashes of a checkpoint's names");
  if (std::all_of(hashes.begin(), hashes.end(), [&](const auto& hash) { return hash == hashes[0]; })) return;
  const auto texts = ranks.all_gather_bytes(json(mine).dump(), "a checkpoint's names");
  const std::vector<std::string> first = json::parse(texts[0]);
  for (size_t r = 1; r < texts.size(); ++r) {
    const std::vector<std::string> other = json::parse(texts[r]);
    size_t line = 0;
    while (line < std::min(first.size(), other.size()) && first[line] == other[line]) ++line;
    TORCH_CHECK(texts[r] == texts[0], "save_checkpoint: all ranks must have the same tensors, but rank 0 has ",
                line < first.size() ? first[line] : "nothing more", " where rank ", r, " has ",
                line < other.size() ? other[line] : "nothing more");
  }
}

std::string slices_text(const CheckpointContents& contents) {
  json groups = json::array();
  for (const auto& group : contents.groups) {
    json slices = json::array();
    for (const auto& slice : group.slices) {
      const CheckpointPart part = part_of(slice);
      slices.push_back({part.name, part.shape, static_cast<int>(part.dtype), part.begin, part.count});
    }
    groups.push_back(std::move(slices));
  }
  return groups.dump();
}

// All ranks' slices of each group, by name. Collective.
std::vector<std::map<std::string, std::vector<Held>>> gather_slices(const CheckpointContents& contents, dist::Communicator& ranks) {
  std::vector<std::map<std::string, std::vector<Held>>> slices(contents.groups.size());
  const auto texts = ranks.all_gather_bytes(slices_text(contents), "a checkpoint's slices");
  for (size_t r = 0; r < texts.size(); ++r) {
    const json groups = json::parse(texts[r]);
    for (size_t g = 0; g < groups.size(); ++g) {
      for (const auto& slice : groups[g]) {
        CheckpointPart part{slice[0], slice[1], static_cast<TensorDtype>(slice[2].get<int>()), slice[3], slice[4]};
        auto& of_name = slices.at(g)[part.name];
        of_name.push_back({std::move(part), {static_cast<int>(r)}});
      }
    }
  }
  return slices;
}

// The slices of one tensor in order, each once with all its holders; empty ones say nothing.
std::vector<Held> ordered(const std::string& group, std::vector<Held> slices) {
  const CheckpointPart first = slices[0].part;
  std::sort(slices.begin(), slices.end(), [](const Held& a, const Held& b) {
    return std::tie(a.part.begin, a.part.count, a.holders) < std::tie(b.part.begin, b.part.count, b.holders);
  });
  const int64_t total = first.num_elements();
  std::vector<Held> pieces;
  int64_t covered = 0;
  for (auto& slice : slices) {
    const CheckpointPart& part = slice.part;
    TORCH_CHECK(part.shape == first.shape && part.dtype == first.dtype, "save_checkpoint: the ranks give slices of '", part.name, "' of '", group,
                "' two shapes or dtypes: ", at::IntArrayRef(first.shape), " and ", at::IntArrayRef(part.shape));
    if (part.count == 0 && total > 0) continue;
    if (!pieces.empty() && pieces.back().part.begin == part.begin && pieces.back().part.count == part.count) {
      pieces.back().holders.push_back(slice.holders[0]);
      continue;
    }
    TORCH_CHECK(part.begin == covered, "save_checkpoint: the slices of '", part.name, "' of '", group, "' ",
                part.begin < covered ? "overlap" : "leave a gap", ": one begins at ", part.begin, " where ", covered, " of ", total,
                " elements are covered");
    covered = part.begin + part.count;
    pieces.push_back(std::move(slice));
  }
  TORCH_CHECK(covered == total, "save_checkpoint: the slices of '", first.name, "' of '", group, "' end at ", covered, " of ", total, " elements");
  return pieces;
}

// For each part of each group, in that order, the rank that writes it.
std::vector<int> deal(const std::vector<const Held*>& parts, int num_ranks) {
  std::vector<uint64_t> bytes(static_cast<size_t>(num_ranks));
  std::vector<int> writer(parts.size());
  std::vector<size_t> open;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i]->holders.size() != 1) {
      open.push_back(i);
      continue;
    }
    writer[i] = parts[i]->holders[0];
    bytes[static_cast<size_t>(writer[i])] += parts[i]->part.bytes();
  }
  std::vector<int> everyone(static_cast<size_t>(num_ranks));
  std::iota(everyone.begin(), everyone.end(), 0);
  std::stable_sort(open.begin(), open.end(), [&](size_t a, size_t b) { return parts[a]->part.bytes() > parts[b]->part.bytes(); });
  for (const size_t i : open) {
    const auto& holders = parts[i]->holders.empty() ? everyone : parts[i]->holders;
    writer[i] = *std::min_element(holders.begin(), holders.end(), [&](int a, int b) { return bytes[static_cast<size_t>(a)] < bytes[static_cast<size_t>(b)]; });
    bytes[static_cast<size_t>(writer[i])] += parts[i]->part.bytes();
  }
  return writer;
}

}  // namespace

int64_t CheckpointPart::num_elements() const { return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()); }

TensorSpec CheckpointPart::entry() const {
  return whole() ? TensorSpec{name, dtype, shape} : TensorSpec{slice_entry(name, begin), dtype, {count}};
}

CheckpointPart part_of(const TensorSlice& slice) {
  return {slice.name, slice.shape, *file_dtype(slice.values.scalar_type()), slice.begin, slice.values.numel()};
}

uint64_t CheckpointPlan::bytes() const {
  constexpr uint64_t kBytesPerFile = 4096, kHeaderBytesPerTensor = 128;
  uint64_t bytes = 0;
  for (const auto& group : groups) {
    for (const auto& file : group.files) {
      bytes += kBytesPerFile;
      for (const auto& part : file.parts) bytes += part.bytes() + part.name.size() + kHeaderBytesPerTensor;
    }
  }
  return bytes;
}

std::map<std::string, std::string> CheckpointPlan::indices() const {
  std::map<std::string, std::string> texts;
  for (const auto& group : groups) {
    json weight_map = json::object();
    uint64_t total_bytes = 0;
    bool sliced = false;
    for (const auto& file : group.files) {
      for (const auto& part : file.parts) {
        weight_map[part.name] = file.name;
        total_bytes += part.bytes();
        sliced = sliced || !part.whole();
      }
    }
    if (group.files.size() == 1 || sliced) continue;
    const json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
    texts[group_index_file(group.name)] = index.dump(2) + "\n";
  }
  return texts;
}

CheckpointPlan plan_checkpoint(const CheckpointContents& contents, dist::Communicator& ranks) {
  check_common(contents, ranks);
  const auto slices = gather_slices(contents, ranks);
  std::vector<std::vector<Held>> parts(contents.groups.size());
  for (size_t g = 0; g < contents.groups.size(); ++g) {
    const auto& group = contents.groups[g];
    for (const auto& [name, tensor] : group.tensors) {
      TORCH_CHECK(!slices[g].contains(name), "save_checkpoint: '", name, "' of '", group.name, "' is given whole and in slices");
      parts[g].push_back({{name, tensor.sizes().vec(), *file_dtype(tensor.scalar_type()), 0, tensor.numel()}, {}});
    }
    for (const auto& [name, of_name] : slices[g]) {
      for (auto& piece : ordered(group.name, of_name)) parts[g].push_back(std::move(piece));
    }
  }
  std::vector<const Held*> all;
  for (const auto& of_group : parts) {
    for (const auto& held : of_group) all.push_back(&held);
  }
  const auto writers = deal(all, ranks.size());

  CheckpointPlan plan;
  size_t next = 0;
  for (size_t g = 0; g < parts.size(); ++g) {
    std::map<int, std::vector<CheckpointPart>> of_rank;
    for (const auto& held : parts[g]) of_rank[writers[next++]].push_back(held.part);
    if (of_rank.empty()) of_rank[0] = {};
    PlannedGroup group{contents.groups[g].name, {}};
    for (auto& [rank, of_file] : of_rank) {
      group.files.push_back({group_file(group.name, group.files.size() + 1, of_rank.size()), rank, std::move(of_file)});
    }
    plan.groups.push_back(std::move(group));
  }
  return plan;
}

}  // namespace r1::train
