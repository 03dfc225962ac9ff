#include "yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::yaml {
namespace {

constexpr size_t kMaxDepth = 64, kMaxValues = 100'000, kMaxBytes = size_t{4} << 20;
constexpr std::string_view kTextTag = "tag:yaml.org,2002:str";

// Builds the tree from the parser's events: unlike YAML::Node it sees repeated keys, and every mark is kept.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& name) : name_(name) {}
  Value take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, new_value(mark)); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail(mark, "an alias stands inside the value it names");
    count_ += found->second.second;
    check_count(mark);
    Value copy = found->second.first;
    copy.place = place(mark);
    add(mark, 0, std::move(copy), /*alias=*/true);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    if (!tag.empty() && tag != "?" && tag != "!" && tag != kTextTag) refuse_tag(mark, tag);
    Value value = new_value(mark);
    value.kind = Value::Kind::kScalar;
    value.text = text;
    value.quoted = tag == "!" || tag == kTextTag;
    add(mark, anchor, std::move(value));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Value::Kind::kList);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Value::Kind::kMapping);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    Value value;
    YAML::anchor_t anchor = 0;
    YAML::Mark mark;
    size_t count_before = 0;
    bool has_key = false;
    std::string key, key_place;
  };

  std::string place(const YAML::Mark& mark) const { return cat(name_, ":", mark.line + 1); }

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw Error(cat(name_, ":", mark.line + 1, ":", mark.column + 1, ": ", what));
  }

  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    fail(mark, cat("the type tag ", tag, " is not read; accepted: plain values.\n  Remove the tag."));
  }

  void check_count(const YAML::Mark& mark) const {
    if (count_ > kMaxValues) fail(mark, cat("more than ", kMaxValues, " values, aliases counted"));
  }

  Value new_value(const YAML::Mark& mark) {
    ++count_;
    check_count(mark);
    Value value;
    value.place = place(mark);
    return value;
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Value::Kind kind) {
    if (!tag.empty() && tag != "?" && tag != "!") refuse_tag(mark, tag);
    if (stack_.size() >= kMaxDepth) fail(mark, cat("nested deeper than ", kMaxDepth, " levels"));
    if (!stack_.empty() && expects_key(stack_.back())) refuse_key(mark);
    Frame frame;
    frame.count_before = count_;
    frame.value = new_value(mark);
    frame.value.kind = kind;
    frame.anchor = anchor;
    frame.mark = mark;
    stack_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    add(frame.mark, frame.anchor, std::move(frame.value), false, count_ - frame.count_before);
  }

  static bool expects_key(const Frame& frame) {
    return frame.value.kind == Value::Kind::kMapping && !frame.has_key;
  }

  [[noreturn]] void refuse_key(const YAML::Mark& mark) const {
    fail(mark, "a key is empty, an alias, a list or a mapping; accepted: a word before the colon");
  }

  void set_key(const YAML::Mark& mark, const Value& key) {
    Frame& frame = stack_.back();
    if (key.kind != Value::Kind::kScalar || key.text.empty()) refuse_key(mark);
    if (key.text == "<<") {
      fail(mark, "merge keys (<<) are not read.\n  Use `extends: base.yaml` at the top of the file.");
    }
    if (key.text.find_first_of(".=") != std::string::npos) {
      fail(mark, cat("key ", key.text, " holds a dot or an equals sign, which separate keys in `a.b=value`"));
    }
    if (const Value* earlier = frame.value.find(key.text)) {
      fail(mark,
           cat("key ", key.text, " is given twice, first at ", earlier->place, ".\n  Remove one of them."));
    }
    frame.has_key = true;
    frame.key = key.text;
    frame.key_place = place(mark);
  }

  void add(const YAML::Mark& mark, YAML::anchor_t anchor, Value value, bool alias = false, size_t count = 1) {
    if (anchor != 0) anchors_[anchor] = {value, count};
    if (stack_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& frame = stack_.back();
    if (expects_key(frame)) {
      if (alias) refuse_key(mark);
      set_key(mark, value);
    } else if (frame.value.kind == Value::Kind::kMapping) {
      value.place = frame.key_place;
      value.key = std::move(frame.key);
      frame.value.items.push_back(std::move(value));
      frame.has_key = false;
    } else {
      frame.value.items.push_back(std::move(value));
    }
  }

  const std::string& name_;
  Value root_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, std::pair<Value, size_t>> anchors_;  ///< with the number of values inside
  size_t count_ = 0;
};

// yaml-cpp 0.7 takes a quote that is never closed when the text ends in white space. A comment behind it is
// nothing to closed quotes, and inside an open one it makes the text end in no white space.
const char* end_guard(const std::string& text) {
  if (text.empty()) return "";
  const char last = text.back();
  return last == '\n' || last == '\r' ? "#" : last == ' ' || last == '\t' ? "\n#" : "";
}

void set_place(Value& value, const std::string& place) {
  value.place = place;
  for (auto& item : value.items) set_place(item, place);
}

[[noreturn]] void reject_override(const std::string& text, const std::string& why) {
  throw Error(cat("command line: ", text, ": ", why));
}

// The value called `key` inside `parent`, made when it is absent.
Value& enter(Value& parent, const std::string& key, const std::string& parent_path, const std::string& text) {
  if (parent.kind == Value::Kind::kNull) parent.kind = Value::Kind::kMapping;
  if (parent.kind == Value::Kind::kMapping) {
    if (Value* found = parent.find(key)) return *found;
    Value& made = parent.items.emplace_back();
    made.key = key;
    made.place = "command line";
    return made;
  }
  if (parent.kind == Value::Kind::kScalar) {
    reject_override(text,
                    cat(parent_path, " is ", describe(parent), " at ", parent.place, " and has no keys"));
  }
  const bool digits = key.size() < 7 && key.find_first_not_of("0123456789") == std::string::npos;
  const size_t index = digits ? std::stoul(key) : parent.items.size();
  if (index >= parent.items.size()) {
    reject_override(text, cat(parent_path, " is a list of ", parent.items.size(), " at ", parent.place,
                              "; accepted: an index below that, from 0"));
  }
  return parent.items[index];
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  if (kind != Kind::kMapping) return nullptr;
  for (const auto& item : items) {
    if (item.key == key) return &item;
  }
  return nullptr;
}

Value* Value::find(std::string_view key) { return const_cast<Value*>(std::as_const(*this).find(key)); }

Value parse(const std::string& text, const std::string& name) {
  if (text.size() > kMaxBytes) {
    throw Error(cat(name, ": ", human_bytes(static_cast<double>(text.size())), " of YAML; accepted: at most ",
                    human_bytes(static_cast<double>(kMaxBytes)), ".\n  Data belongs into JSONL files."));
  }
  TreeBuilder builder(name);
  try {
    std::istringstream stream(text + end_guard(text));
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    Value root = builder.take_root();
    TreeBuilder rest(name);
    if (parser.HandleNextDocument(rest)) {
      throw Error(cat(name, ": holds more than one YAML document; accepted: one.\n  Remove the line `---`."));
    }
    return root;
  } catch (const YAML::Exception& e) {
    if (e.mark.is_null()) throw Error(cat(name, ": is no YAML: ", e.msg, "."));
    throw Error(cat(name, ":", e.mark.line + 1, ":", e.mark.column + 1, ": is no YAML: ", e.msg,
                    ".\n  Look for an open quote or bracket, a tab or a wrong indentation here or above."));
  }
}

void merge(Value& base, Value over) {
  if (base.kind == Value::Kind::kMapping && over.kind == Value::Kind::kNull) return;
  if (base.kind != Value::Kind::kMapping || over.kind != Value::Kind::kMapping) {
    over.key = std::move(base.key);
    base = std::move(over);
    return;
  }
  base.place = over.place;
  for (auto& item : over.items) {
    if (Value* old = base.find(item.key)) {
      merge(*old, std::move(item));
    } else {
      base.items.push_back(std::move(item));
    }
  }
}

void apply_override(Value& root, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    reject_override(text, "is no override; accepted: key=value, for example train.lr=1e-4");
  }
  Value* target = &root;
  std::string path;
  for (size_t begin = 0; begin <= equals;) {
    const size_t end = std::min(text.find('.', begin), equals);
    const std::string key = text.substr(begin, end - begin);
    if (key.empty()) reject_override(text, "has an empty key; accepted: section.key=value");
    target = &enter(*target, key, path, text);
    path += (path.empty() ? "" : ".") + key;
    begin = end + 1;
  }
  Value value;
  try {
    value = parse(text.substr(equals + 1), "value");
  } catch (const Error& e) {
    reject_override(text, e.what());
  }
  set_place(value, "command line");
  merge(*target, std::move(value));
}

}  // namespace r1::yaml
