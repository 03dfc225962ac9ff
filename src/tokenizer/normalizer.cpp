#include "normalizer.h"

#include <utf8proc.h>

#include <cstdlib>

#include "json_fields.h"
#include "utf8.h"

namespace r1 {
namespace {

/// True for characters that NFC leaves alone whatever follows among such characters: no decomposition,
/// combining class zero, never the second part of a composition. Ranges that cover most text; others take the
/// full path.
bool nfc_inert(char32_t c) {
  return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x2029) ||
         (c >= 0x3001 && c <= 0x3029) || (c >= 0x3041 && c <= 0x3098) || (c >= 0x309F && c <= 0x30FF) ||
         (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFFEF) ||
         (c >= 0x1F300 && c <= 0x1FAFF);
}

bool all_nfc_inert(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const auto c = utf8::decode(text, at);
    if (!nfc_inert(c.code)) return false;
    at += c.length;
  }
  return true;
}

std::string unicode_map(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                   static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  if (length < 0)
    throw Error(cat("Unicode normalisation of ", text.size(), " bytes failed: ", utf8proc_errmsg(length)));
  std::string out(reinterpret_cast<char*>(mapped), static_cast<size_t>(length));
  std::free(mapped);
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto c = utf8::decode(text, at);
    if (c.code == 0x130)
      out += "i\xCC\x87";  // the only character whose lower case is two
    else
      utf8::append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code))));
    at += c.length;
  }
  return out;
}

std::string_view strip(std::string_view text, bool left, bool right) {
  size_t begin = 0, end = text.size(), last = 0;
  bool seen = false;
  for (size_t at = 0; at < text.size();) {
    const auto c = utf8::decode(text, at);
    if (!utf8::is_space(c.code)) {
      if (!seen) begin = at;
      seen = true;
      last = at + c.length;
    }
    at += c.length;
  }
  if (!seen) return left || right ? std::string_view() : text;
  if (!left) begin = 0;
  if (right) end = last;
  return text.substr(begin, end - begin);
}

std::string replace_all(std::string_view text, const std::string& from, const std::string& to) {
  std::string out;
  for (size_t at = 0;;) {
    const size_t hit = text.find(from, at);
    out.append(text, at, hit == text.npos ? text.npos : hit - at);
    if (hit == text.npos) return out;
    out += to;
    at = hit + from.size();
  }
}

}  // namespace

Normalizer::Normalizer(const nlohmann::json& spec, const std::string& where) : spec_(spec) {
  if (!spec.is_null()) add(spec, where);
}

void Normalizer::add(const nlohmann::json& spec, const std::string& where) {
  using namespace json_fields;
  const std::string type = text(spec, "type", where);
  if (type == "Sequence") {
    const auto& list = need(spec, "normalizers", where);
    if (!list.is_array()) throw Error(cat(where, ".normalizers is ", quote(list), "; accepted: a list"));
    for (size_t i = 0; i < list.size(); ++i) add(list[i], cat(where, ".normalizers[", i, "]"));
  } else if (type == "NFC") {
    steps_.push_back({Kind::kNfc, "", ""});
  } else if (type == "NFD") {
    steps_.push_back({Kind::kNfd, "", ""});
  } else if (type == "NFKC") {
    steps_.push_back({Kind::kNfkc, "", ""});
  } else if (type == "NFKD") {
    steps_.push_back({Kind::kNfkd, "", ""});
  } else if (type == "Lowercase") {
    steps_.push_back({Kind::kLowercase, "", ""});
  } else if (type == "Strip") {
    steps_.push_back({Kind::kStrip, "", "", boolean(spec, "strip_left", true, where),
                      boolean(spec, "strip_right", true, where)});
  } else if (type == "Prepend") {
    steps_.push_back({Kind::kPrepend, "", text(spec, "prepend", where)});
  } else if (type == "Replace") {
    const auto& pattern = need(spec, "pattern", where);
    const std::string from = text(pattern, "String", where + ".pattern");
    if (from.empty()) throw Error(cat(where, ".pattern.String is empty; accepted: at least one character"));
    steps_.push_back({Kind::kReplace, from, text(spec, "content", where)});
  } else {
    throw Error(cat(where, ".type is \"", type,
                    "\"; accepted: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace"));
  }
}

std::string_view Normalizer::apply(std::string_view text, std::string& buffer) const {
  for (const Step& step : steps_) {
    std::string out;
    switch (step.kind) {
      case Kind::kNfc:
        if (all_nfc_inert(text)) continue;
        out = unicode_map(text, UTF8PROC_COMPOSE);
        break;
      case Kind::kNfd:
        out = unicode_map(text, UTF8PROC_DECOMPOSE);
        break;
      case Kind::kNfkc:
        out = unicode_map(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
        break;
      case Kind::kNfkd:
        out = unicode_map(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
        break;
      case Kind::kLowercase:
        out = lowercase(text);
        break;
      case Kind::kStrip:
        out = std::string(strip(text, step.left, step.right));
        break;
      case Kind::kPrepend:
        if (text.empty()) continue;
        out = cat(step.to, text);
        break;
      case Kind::kReplace:
        out = replace_all(text, step.from, step.to);
        break;
    }
    buffer = std::move(out);
    text = buffer;
  }
  return text;
}

}  // namespace r1
