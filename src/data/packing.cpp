#include "r1/data/packing.h"

#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

/// The free tokens of every row, with the largest of each subtree: finds the first row with room in O(log n).
class FreeTokens {
 public:
  FreeTokens(size_t rows, int64_t max_tokens) {
    while (leaves_ < rows) leaves_ *= 2;
    largest_.assign(2 * leaves_, max_tokens);
  }
  size_t take_first(int64_t tokens) {
    size_t node = 1;
    while (node < leaves_) node = 2 * node + (largest_[2 * node] >= tokens ? 0 : 1);
    largest_[node] -= tokens;
    const size_t row = node - leaves_;
    for (node /= 2; node > 0; node /= 2)
      largest_[node] = std::max(largest_[2 * node], largest_[2 * node + 1]);
    return row;
  }

 private:
  size_t leaves_ = 1;
  std::vector<int64_t> largest_;
};

}  // namespace

std::vector<std::vector<int64_t>> pack_by_tokens(const std::vector<int64_t>& lengths, int64_t max_tokens) {
  std::vector<std::vector<int64_t>> rows;
  if (lengths.empty()) return rows;
  FreeTokens free(lengths.size(), max_tokens);  // one row each is always enough
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 0 || lengths[i] > max_tokens) {
      throw Error(cat("packing: sequence ", i, " has ", lengths[i], " tokens; accepted: 0 to ", max_tokens,
                      ", the token budget of a row.\n  Raise the budget or shorten the sequence."));
    }
    const size_t row = free.take_first(lengths[i]);
    if (row >= rows.size()) rows.resize(row + 1);
    rows[row].push_back(static_cast<int64_t>(i));
  }
  return rows;
}

}  // namespace r1
