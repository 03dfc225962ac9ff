#pragma once
#include "kernels/attention/attention.h"
#include "r1/ops/packed.h"

namespace r1::ops {

/// The page table of a packed layout: every segment gets pages of its own, except that whole pages of a shared prefix
/// are shared. `runs` point into `table`.
struct LayoutPages {
  std::vector<std::vector<int32_t>> table;
  std::vector<kernels::AttentionRun> runs;       ///< one per segment with rows
  std::vector<kernels::AttentionRun> write_runs;  ///< the same, plus the prefix tokens that share a page with own ones
  int32_t num_pages = 0;

  explicit LayoutPages(const PackedLayout& layout);
};

}  // namespace r1::ops
