#include "r1/util/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "atomic_output.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

using nlohmann::json;

struct DtypeRow {
  TensorDtype dtype;
  const char* name;
  int64_t bytes;
};
constexpr std::array<DtypeRow, 15> kDtypes = {{{TensorDtype::kF64, "F64", 8},
                                               {TensorDtype::kF32, "F32", 4},
                                               {TensorDtype::kF16, "F16", 2},
                                               {TensorDtype::kBF16, "BF16", 2},
                                               {TensorDtype::kF8E5M2, "F8_E5M2", 1},
                                               {TensorDtype::kF8E4M3, "F8_E4M3", 1},
                                               {TensorDtype::kI64, "I64", 8},
                                               {TensorDtype::kI32, "I32", 4},
                                               {TensorDtype::kI16, "I16", 2},
                                               {TensorDtype::kI8, "I8", 1},
                                               {TensorDtype::kU64, "U64", 8},
                                               {TensorDtype::kU32, "U32", 4},
                                               {TensorDtype::kU16, "U16", 2},
                                               {TensorDtype::kU8, "U8", 1},
                                               {TensorDtype::kBool, "BOOL", 1}}};

const DtypeRow& row_of(TensorDtype dtype) {
  for (const auto& row : kDtypes)
    if (row.dtype == dtype) return row;
  throw Error(cat("there is no tensor dtype number ", static_cast<int>(dtype)));
}

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's reference implementation
constexpr size_t kMaxDims = 64;

uint64_t read_u64(const std::byte* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | std::to_integer<uint64_t>(bytes[i]);
  return value;
}

/// Parses the header; nlohmann keeps the last of two equal keys in silence, so keys are counted while it
/// parses.
json parse_header(std::string_view text, const std::string& path) {
  std::vector<std::set<std::string>> keys_of_open_objects;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 8)
      throw Error(cat(path, ": the header is nested deeper than 8 levels.\n  The file is damaged."));
    if (event == json::parse_event_t::object_start) {
      keys_of_open_objects.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys_of_open_objects.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_of_open_objects.back().insert(key).second)
        throw Error(cat(path, ": the header has the name '", key,
                        "' twice.\n  The file is damaged; write or download it again."));
    }
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& error) {
    throw Error(cat(path, ": the header is not JSON: ", error.what(),
                    ".\n  The file is damaged, or is not a .safetensors file; write or download it again."));
  }
}

/// A JSON number that is an integer of 0 .. 2^63 - 1.
bool read_count(const json& value, uint64_t& out) {
  if (!value.is_number_unsigned()) return false;
  out = value.get<uint64_t>();
  return out <= static_cast<uint64_t>(INT64_MAX);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return cat("[", join(sizes, ", "), "]");
}

struct Entry {
  TensorView view;
  uint64_t begin = 0, end = 0;
};

Entry read_entry(const std::string& name, const json& value, uint64_t data_bytes, const std::string& path) {
  const auto fail = [&](const std::string& what) {
    throw Error(
        cat(path, ": tensor '", name, "' ", what, ".\n  The file is damaged; write or download it again."));
  };
  if (!value.is_object()) fail("is not described by a JSON object");
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!value.contains(key)) fail(cat("has no '", key, "'"));
  Entry entry;
  entry.view.name = name;
  const auto& dtype = value["dtype"];
  const auto row = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeRow& r) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == r.name;
  });
  if (row == kDtypes.end()) {
    std::vector<std::string> names;
    for (const auto& r : kDtypes) names.push_back(r.name);
    fail(cat("has dtype ", dtype.is_string() ? dtype.get_ref<const std::string&>() : dtype.type_name(),
             "; accepted: ", join(names, ", ")));
  }
  entry.view.dtype = row->dtype;
  const auto& shape = value["shape"];
  if (!shape.is_array() || shape.size() > kMaxDims)
    fail("has a shape that is not a list of at most 64 sizes");
  for (const auto& size : shape) {
    uint64_t count = 0;
    if (!read_count(size, count)) fail("has a shape with an entry that is not an integer of 0 or more");
    entry.view.shape.push_back(static_cast<int64_t>(count));
  }
  const auto& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !read_count(offsets[0], entry.begin) ||
      !read_count(offsets[1], entry.end))
    fail("has data_offsets that are not two integers of 0 or more");
  if (entry.begin > entry.end || entry.end > data_bytes)
    fail(cat("claims the bytes ", entry.begin, " to ", entry.end, " of a file with ", data_bytes,
             " bytes of data"));
  uint64_t needed = 0;
  try {
    needed = entry.view.num_bytes();
  } catch (const Error& error) {
    fail(error.what());
  }
  if (needed != entry.end - entry.begin)
    fail(cat("is ", row->name, " ", shape_text(entry.view.shape), " = ", needed,
             " bytes, but its data_offsets ", entry.begin, " to ", entry.end, " hold ",
             entry.end - entry.begin));
  return entry;
}

}  // namespace

const char* tensor_dtype_name(TensorDtype dtype) { return row_of(dtype).name; }
int64_t tensor_dtype_bytes(TensorDtype dtype) { return row_of(dtype).bytes; }

uint64_t TensorSpec::num_bytes() const {
  // A zero anywhere makes the tensor empty, however large the other sizes are.
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  uint64_t bytes = static_cast<uint64_t>(tensor_dtype_bytes(dtype));
  for (const int64_t size : shape) {
    if (size < 0) throw Error(cat("has a negative size in shape ", shape_text(shape)));
    if (!empty && (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes) ||
                   bytes > static_cast<uint64_t>(INT64_MAX)))
      throw Error(cat("has shape ", shape_text(shape), ", more than 2^63 - 1 bytes"));
  }
  return empty ? 0 : bytes;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file) : file_(file) {
  const std::string path = file.string();
  const auto bytes = file_.bytes();
  if (bytes.size() < 8)
    throw Error(cat(path, ": ", bytes.size(),
                    " bytes are too few for a .safetensors file (8 for the header's length)",
                    ".\n  The file is truncated; write or download it again."));
  const uint64_t header_bytes = read_u64(bytes.data());
  if (header_bytes > bytes.size() - 8 || header_bytes > kMaxHeaderBytes)
    throw Error(cat(path, ": claims a header of ", header_bytes, " bytes; the file has ", bytes.size() - 8,
                    " after the length, and ", kMaxHeaderBytes,
                    " are the limit.\n  The file is truncated, or is not a .safetensors file."));
  const auto data = bytes.subspan(8 + header_bytes);
  const json header = parse_header({reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes}, path);
  if (!header.is_object())
    throw Error(cat(path, ": the header is not a JSON object.\n  The file is damaged."));
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object())
        throw Error(cat(path, ": __metadata__ is not a JSON object.\n  The file is damaged."));
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string())
          throw Error(cat(path, ": __metadata__ entry '", key, "' is not a string.\n  The file is damaged."));
        metadata_[key] = text.get<std::string>();
      }
      continue;
    }
    entries.push_back(read_entry(name, value, data.size(), path));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.view.name) < std::tie(b.begin, b.end, b.view.name);
  });
  uint64_t position = 0;
  for (auto& entry : entries) {
    if (entry.begin != position)
      throw Error(cat(path, ": tensor '", entry.view.name, "' begins at byte ", entry.begin,
                      " of the data, but the tensors before it end at ", position, " (",
                      entry.begin < position ? "an overlap" : "a gap",
                      ").\n  The file is damaged; write or download it again."));
    position = entry.end;
    entry.view.bytes = data.subspan(entry.begin, entry.end - entry.begin);
    tensors_.push_back(std::move(entry.view));
  }
  if (position != data.size())
    throw Error(cat(path, ": the tensors end at byte ", position, " of the data, but the file has ",
                    data.size(), ".\n  The file is damaged; write or download it again."));
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
}

const TensorView* SafetensorsFile::find(const std::string& name) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const TensorView& view, const std::string& n) { return view.name < n; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  if (const TensorView* view = find(name)) return *view;
  std::vector<std::string> names;
  for (const auto& view : tensors_) names.push_back(view.name);
  const std::string near = nearest(name, names);
  throw Error(cat(path().string(), ": holds no tensor '", name, "' among its ", tensors_.size(),
                  near.empty() ? "." : cat(".\n  The nearest name is '", near, "'.")));
}

struct SafetensorsWriter::Output : AtomicOutput {
  using AtomicOutput::AtomicOutput;
  std::string path;
};

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& file, std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : tensors_(std::move(tensors)) {
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorSpec& a, const TensorSpec& b) {
    const int64_t a_bytes = tensor_dtype_bytes(a.dtype), b_bytes = tensor_dtype_bytes(b.dtype);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a.name < b.name;
  });
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const auto& tensor : tensors_) {
    if (tensor.name == "__metadata__" || header.contains(tensor.name))
      throw Error(cat(
          file.string(), ": cannot write the tensor '", tensor.name, "': ",
          tensor.name == "__metadata__" ? "the format reserves that name." : "there are two of that name."));
    const uint64_t end = position + tensor.num_bytes();
    header[tensor.name] = {{"dtype", tensor_dtype_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& error) {
    throw Error(cat(file.string(), ": a tensor name or metadata entry is not UTF-8: ", error.what()));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  output_ = std::make_unique<Output>(file);
  output_->path = file.string();
  std::array<std::byte, 8> length;
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(text.size() >> (8 * i) & 0xff);
  output_->write(length);
  output_->write(std::as_bytes(std::span(text)));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (next_ == tensors_.size())
    throw Error(cat(output_->path, ": write() was called more often than there are tensors (", next_, ")"));
  const auto& tensor = tensors_[next_];
  if (bytes.size() != tensor.num_bytes())
    throw Error(cat(output_->path, ": tensor '", tensor.name, "' is ", tensor_dtype_name(tensor.dtype), " ",
                    shape_text(tensor.shape), " = ", tensor.num_bytes(), " bytes, but ", bytes.size(),
                    " were given"));
  output_->write(bytes);
  ++next_;
}

void SafetensorsWriter::close() {
  if (next_ != tensors_.size())
    throw Error(cat(output_->path, ": closed after ", next_, " of ", tensors_.size(), " tensors"));
  output_->commit();
}

void write_safetensors(const std::filesystem::path& file, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::span<const std::byte>> bytes_of;
  for (const auto& tensor : tensors) bytes_of[tensor.name] = tensor.bytes;
  SafetensorsWriter writer(file, {tensors.begin(), tensors.end()}, metadata);
  for (const auto& spec : writer.order()) writer.write(bytes_of.at(spec.name));
  writer.close();
}

}  // namespace r1
