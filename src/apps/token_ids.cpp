#include "token_ids.h"

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::apps {

std::vector<int32_t> read_ids(const nlohmann::json& object, int64_t vocab_size, bool allow_empty) {
  const auto found = object.find("ids");
  if (found == object.end() || !found->is_array()) {
    throw Error(cat("\"ids\" is ", found == object.end() ? "missing" : found->type_name(),
                    "; accepted: {\"ids\": [12, 7, ...]}, token ids"));
  }
  if (found->empty() && !allow_empty) throw Error("\"ids\" is empty; accepted: at least one token id");
  std::vector<int32_t> ids;
  for (const auto& value : *found) {
    const bool fits = value.is_number_unsigned() && value.get<uint64_t>() < static_cast<uint64_t>(vocab_size);
    if (!fits) {
      throw Error(cat("ids[", ids.size(), "] is ",
                      value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 60),
                      "; accepted: an integer from 0 to ", vocab_size - 1,
                      ", the vocabulary. The ids may come from another tokenizer."));
    }
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

}  // namespace r1::apps
