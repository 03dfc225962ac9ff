#include "pages.h"

#include <unordered_map>

namespace r1::ops {

using kernels::kPageTokens;

LayoutPages::LayoutPages(const PackedLayout& layout) {
  table.reserve(layout.segments.size());
  std::unordered_map<int64_t, size_t> sequence_at;  // first row -> index of the sequence that starts there
  for (const auto& s : layout.segments) {
    table.emplace_back();
    auto& pages = table.back();
    const int64_t length = s.first_position + s.num_rows;
    const int64_t shared = s.first_position / kPageTokens;
    if (shared > 0) {
      const auto& prefix = table[sequence_at.at(s.prefix_row)];
      pages.assign(prefix.begin(), prefix.begin() + shared);
    }
    while (static_cast<int64_t>(pages.size()) * kPageTokens < length) pages.push_back(num_pages++);
    if (s.num_rows == 0) continue;
    if (s.first_position == 0) sequence_at.emplace(s.first_row, table.size() - 1);
    const int64_t copied = s.first_position - shared * kPageTokens;  // prefix tokens in the first own page
    if (copied > 0) {
      write_runs.push_back({s.prefix_row + shared * kPageTokens, copied, shared * kPageTokens, 0, pages.data()});
    }
    runs.push_back({s.first_row, s.num_rows, s.first_position, s.prefix_row, pages.data()});
    write_runs.push_back(runs.back());
  }
}

}  // namespace r1::ops
