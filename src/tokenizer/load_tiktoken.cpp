#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <optional>

#include "impl.h"
#include "json_fields.h"
#include "r1/util/file.h"

namespace r1 {
namespace {

constexpr int32_t kMaxRank = 2'000'000;  // a larger rank is a damaged file

std::optional<std::string> from_base64(std::string_view text) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t bits = 0;
    int padding = 0;
    for (size_t j = 0; j < 4; ++j) {
      const char c = text[i + j];
      const size_t digit = c == '=' ? 0 : kDigits.find(c);
      if (digit == kDigits.npos) return std::nullopt;
      if (c == '=' && (i + 4 != text.size() || j < 2)) return std::nullopt;
      if (c != '=' && padding > 0) return std::nullopt;
      padding += c == '=';
      bits = bits << 6 | static_cast<uint32_t>(digit);
    }
    for (int j = 0; j < 3 - padding; ++j) out += static_cast<char>(bits >> (16 - 8 * j));
  }
  return out;
}

}  // namespace

TokenizerSpec read_tiktoken(const std::filesystem::path& file, const std::string& pretokenizer,
                            const std::vector<std::string>& special) {
  return parse_tiktoken(read_file(file), file.string(), pretokenizer, special);
}

TokenizerSpec parse_tiktoken(std::string_view text, const std::string& origin,
                             const std::string& pretokenizer, const std::vector<std::string>& special) {
  const PreTokenizerPreset* preset = find_preset(pretokenizer);
  if (!preset)
    throw Error(cat(origin, ": no pre-tokenizer is called \"", pretokenizer,
                    "\"; accepted: ", join(Tokenizer::pretokenizer_names(), ", ")));
  TokenizerSpec spec;
  spec.kind = "byte_bpe";
  spec.origin = origin;
  spec.pre_tokenizer = nlohmann::json::parse(preset->pre_tokenizer);
  spec.normalizer = nlohmann::json::parse(preset->normalizer);
  spec.bpe.ignore_merges = true;   // tiktoken looks a word up before it merges
  spec.bpe.rank_by_result = true;  // and ranks a merge by the token it makes
  auto& pieces = spec.bpe.pieces;
  for (size_t at = 0, line_number = 1; at < text.size(); ++line_number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const auto fail = [&](const std::string& what) {
      throw Error(cat(origin, ":", line_number, ": ", what,
                      "; expected \"<base64 of the token's bytes> <rank>\", each ",
                      "token and each rank once"));
    };
    const size_t space = line.find(' ');
    const auto bytes = from_base64(line.substr(0, space));
    if (!bytes) fail(cat("'", line.substr(0, 60), "' does not begin with base64"));
    int32_t rank = -1;
    const std::string_view digits = space == line.npos ? std::string_view() : line.substr(space + 1);
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size() || rank < 0 ||
        rank > kMaxRank)
      fail(cat("the rank is '", digits.substr(0, 60), "'"));
    if (static_cast<size_t>(rank) >= pieces.size()) pieces.resize(static_cast<size_t>(rank) + 1);
    if (!pieces[static_cast<size_t>(rank)].empty()) fail(cat("rank ", rank, " is there twice"));
    pieces[static_cast<size_t>(rank)] = *bytes;
  }
  if (pieces.empty()) throw Error(cat(origin, " holds no ranks; expected lines of \"<base64> <rank>\""));
  spec.bpe.in_model.assign(pieces.size(), 1);
  ByteStringMap ids;
  for (size_t id = 0; id < pieces.size(); ++id)
    if (!pieces[id].empty() && !ids.insert(pieces[id], static_cast<int32_t>(id)))
      throw Error(cat(origin, ": ranks ", ids.find(pieces[id]), " and ", id,
                      " hold the same bytes; expected distinct tokens"));
  std::vector<int64_t> order(pieces.size());
  std::iota(order.begin(), order.end(), 0);
  spec.bpe.merges = merges_of_pieces(pieces, ids, order);
  for (const std::string& name : special) {
    spec.added.push_back({static_cast<int32_t>(pieces.size()), name});
    pieces.push_back(name);
    spec.bpe.in_model.push_back(0);
  }
  guess_special_ids(spec);
  return spec;
}

}  // namespace r1
