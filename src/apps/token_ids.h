#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace r1::apps {

/// The member "ids": a list of integers from 0 to vocab_size - 1. Throws Error naming the place in the list,
/// what was found and what is accepted. An empty list is refused unless `allow_empty`.
std::vector<int32_t> read_ids(const nlohmann::json& object, int64_t vocab_size, bool allow_empty);

}  // namespace r1::apps
