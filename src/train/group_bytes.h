#pragma once
#include <string>

#include "r1/train/scored_group.h"

namespace r1::train {

/// What a rank tells the others of groups that it has sampled and scored: all but the problems and prompts, which they know. CBOR with
/// the arrays as raw bytes: every float arrives as it was.
///
///   places  of the groups among the step's problems
std::string to_bytes(const std::vector<size_t>& places, const std::vector<ScoredGroup>& groups);

/// Fills `groups` at the places that `bytes` has. Throws Error for bytes that are not of to_bytes.
void from_bytes(const std::string& bytes, std::vector<ScoredGroup>& groups);

}  // namespace r1::train
