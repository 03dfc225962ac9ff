#include "r1/data/text_check.h"

#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <unordered_map>

#include "r1/data/identity.h"
#include "r1/data/ngram_index.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "words.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

struct HashOfHash {
  size_t operator()(const std::pair<uint64_t, uint64_t>& hash) const { return hash.first; }
};

Json place_json(const std::string& file, const char* row_key, int64_t row, const std::string& id) {
  Json json{{"file", file}, {row_key, row}};
  if (!id.empty()) json["id"] = id;
  return json;
}

}  // namespace

TextCheckConfig TextCheckConfig::parse(const ConfigNode& node) {
  TextCheckConfig config;
  if (node.has("decontaminate")) {
    const ConfigNode section = node.child("decontaminate");
    std::vector<std::string> against;
    section.require("against", against, {}, "Files of evaluation problems, or held_out for the run's own.");
    for (const auto& name : against) {
      if (name == "held_out") {
        config.against_held_out = true;
      } else if (!std::filesystem::is_regular_file(name)) {
        section.reject("against", "files that exist, or held_out",
                       cat("There is no file ", name, "; paths begin at the working directory."));
      } else {
        config.against.emplace_back(name);
      }
    }
    if (against.empty())
      section.reject("against", "at least one file, or held_out", "Nothing would be compared.");
    section.read("ngram", config.ngram, between<int64_t>(4, 100), "The paper's is 10.");
    section.reject_unknown_keys();
  }
  if (node.has("identity")) {
    std::string identity;
    node.read("identity", identity, one_of({"drop", "report"}));
    config.identity = identity == "drop" ? Identity::kDrop : Identity::kReport;
  }
  node.read("own_names", config.own_names);
  if (!config.own_names.empty() && config.identity == Identity::kOff) {
    node.reject("own_names", "own_names beside identity: drop or report",
                "They are the names that the identity filter allows.");
  }
  node.read("deduplicate", config.deduplicate);
  return config;
}

struct TextChecker::Impl {
  struct Seen {
    uint32_t file;
    int64_t row;
    const char* row_key;
  };

  TextCheckConfig config;
  Listener listener;
  NgramIndex index;
  std::optional<IdentityFilter> identity;
  std::unordered_map<std::pair<uint64_t, uint64_t>, Seen, HashOfHash> seen;
  std::vector<std::string> files;  // of Seen
  TextCheckCounts counts;

  Impl(TextCheckConfig c, Listener l) : config(std::move(c)), listener(std::move(l)), index(config.ngram) {
    if (config.identity != TextCheckConfig::Identity::kOff) identity.emplace(config.own_names);
  }

  static std::pair<uint64_t, uint64_t> key_of(const std::vector<RowText>& texts) {
    std::string all;
    for (const auto& text : texts) all += comparable(text.text) + '\0';
    const auto hash = XXH3_128bits(all.data(), all.size());
    return {hash.low64, hash.high64};
  }

  // The place where an equal row stands; nothing, and this one is remembered, when it is the first.
  std::optional<Seen> remember(const TextPlace& place, const std::vector<RowText>& texts) {
    if (files.empty() || files.back() != place.file) files.push_back(place.file);
    const auto [known, is_new] = seen.try_emplace(
        key_of(texts), Seen{static_cast<uint32_t>(files.size() - 1), place.row, place.row_key});
    return is_new ? std::nullopt : std::optional(known->second);
  }

  Json finding(const TextPlace& place, bool dropped, const char* reason) const {
    Json json = place_json(place.file, place.row_key, place.row, place.id);
    json["dropped"] = dropped;
    json["reason"] = reason;
    return json;
  }

  bool is_contaminated(const TextPlace& place, const std::vector<RowText>& texts) {
    for (const auto& text : texts) {
      const auto match = index.find(text.text);
      if (!match) continue;
      ++counts.contaminated;
      Json json = finding(place, true, "contamination");
      json["field"] = text.field;
      json["ngram"] = match->ngram;
      json["against"] =
          place_json(match->where->file, match->where->row_key, match->where->row, match->where->id);
      json["against"]["field"] = match->where->part;
      listener(json);
      return true;
    }
    return false;
  }

  bool is_dropped_for_identity(const TextPlace& place, const std::vector<RowText>& texts) {
    const bool drop = config.identity == TextCheckConfig::Identity::kDrop;
    for (const auto& text : texts) {
      const auto claim = identity->find(text.text);
      if (!claim) continue;
      ++(drop ? counts.identity_dropped : counts.identity_reported);
      Json json = finding(place, drop, "identity");
      json["field"] = text.field;
      json["rule"] = claim->rule;
      json["who"] = claim->who;
      json["text"] = claim->text;
      json["offset"] = claim->offset;
      listener(json);
      return drop;
    }
    return false;
  }

  bool is_duplicate(const TextPlace& place, const std::vector<RowText>& texts) {
    const auto first = remember(place, texts);
    if (!first) return false;
    ++counts.duplicates;
    Json json = finding(place, true, "duplicate");
    json["of"] = place_json(files[first->file], first->row_key, first->row, "");
    listener(json);
    return true;
  }
};

TextChecker::TextChecker(const TextCheckConfig& config, Listener listener)
    : impl_(std::make_unique<Impl>(config, std::move(listener))) {
  for (const auto& file : config.against) {
    const int64_t before = impl_->index.num_texts();
    read_rows(file, [&](const DataRow& row) {
      const char* row_key = file.extension() == ".json" ? "row" : "line";
      for (const auto& text : row_texts(row.value)) {
        impl_->index.add({file.string(), row.line, row_id(row.value), text.field, row_key}, text.text,
                         text.is_question);
      }
    });
    if (impl_->index.num_texts() == before) {
      throw Error(cat(file.string(),
                      ": no row has a field with a text to compare with; accepted: question, problem, "
                      "prompt, text, answer, "
                      "solution, test and the like."));
    }
  }
}
TextChecker::~TextChecker() = default;
TextChecker::TextChecker(TextChecker&&) noexcept = default;

void TextChecker::protect(const TextPlace& place, const std::vector<RowText>& texts) {
  if (impl_->config.against_held_out) {
    for (const auto& text : texts)
      impl_->index.add({place.file, place.row, place.id, text.field, place.row_key}, text.text,
                       text.is_question);
  }
  if (!impl_->config.deduplicate) return;
  std::vector<RowText> questions;
  std::copy_if(texts.begin(), texts.end(), std::back_inserter(questions),
               [](const RowText& text) { return text.is_question; });
  impl_->remember(place, questions);
}

bool TextChecker::keeps(const TextPlace& place, const std::vector<RowText>& texts) {
  auto& impl = *impl_;
  ++impl.counts.checked;
  if (impl.config.decontaminates() && impl.is_contaminated(place, texts)) return false;
  if (impl.identity && impl.is_dropped_for_identity(place, texts)) return false;
  if (impl.config.deduplicate && impl.is_duplicate(place, texts)) return false;
  ++impl.counts.kept;
  return true;
}

const TextCheckCounts& TextChecker::counts() const { return impl_->counts; }

std::string TextChecker::describe_evaluation() const {
  const auto& index = impl_->index;
  return cat(index.num_texts(), " evaluation texts: ", index.num_ngrams(), " different ", impl_->config.ngram,
             "-grams, ", index.num_short(), " short questions matched whole, ", index.num_skipped(),
             " texts too short to be looked for");
}

std::string TextChecker::describe_counts() const {
  const auto& c = impl_->counts;
  std::vector<std::string> parts;
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) parts.push_back(cat(count, " ", what));
  };
  add(c.contaminated, "for contamination");
  add(c.identity_dropped, "for another model's identity");
  add(c.duplicates, c.duplicates == 1 ? "duplicate" : "duplicates");
  std::string out = cat("dropped ", c.checked - c.kept, " of ", c.checked);
  if (!parts.empty()) out += ": " + join(parts, ", ");
  if (c.identity_reported > 0) out += cat("; another model's identity reported in ", c.identity_reported);
  return out;
}

}  // namespace r1
