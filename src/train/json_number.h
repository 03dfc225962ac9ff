#pragma once
#include <cmath>
#include <nlohmann/json.hpp>

namespace r1 {

/// A double as JSON reads it back bit by bit; NaN and infinities, which JSON lacks, as texts.
inline nlohmann::ordered_json json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace r1
