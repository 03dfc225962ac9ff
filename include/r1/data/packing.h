#pragma once
#include <cstdint>
#include <vector>

namespace r1 {

/// First-fit in order: sequence i goes into the first row that still has room for its tokens, else opens a
/// new row.
///
///   lengths     tokens of each sequence, 0 or more
///   max_tokens  budget of a row or micro-batch
///
/// Returns the indices of each row, rising within it. Deterministic, O(n log n).
/// Throws Error naming the first sequence that is longer than the budget, and both figures.
/// At most 1.7 times the fewest rows possible (Dosa and Sgall, 2013).
std::vector<std::vector<int64_t>> pack_by_tokens(const std::vector<int64_t>& lengths, int64_t max_tokens);

}  // namespace r1
