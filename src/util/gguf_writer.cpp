#include <cstring>
#include <set>
#include <type_traits>

#include "atomic_output.h"
#include "r1/util/error.h"
#include "r1/util/gguf.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr uint64_t kAlignment = 32;  // the format's default, which needs no general.alignment key

uint64_t aligned(uint64_t position) { return (position + kAlignment - 1) / kAlignment * kAlignment; }

template <typename T>
void append(std::string& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void append_string(std::string& out, const std::string& text) {
  append<uint64_t>(out, text.size());
  out += text;
}

/// Integers are kept as uint64 or int64 whatever their width in the file.
template <typename T>
void append_integer(std::string& out, const GgufValue& value) {
  if (const auto* u = std::get_if<uint64_t>(&value.value))
    append(out, static_cast<T>(*u));
  else
    append(out, static_cast<T>(std::get<int64_t>(value.value)));
}

void append_value(std::string& out, const GgufValue& value) {
  switch (value.type) {
    case GgufValueType::kUint8:
      return append_integer<uint8_t>(out, value);
    case GgufValueType::kInt8:
      return append_integer<int8_t>(out, value);
    case GgufValueType::kUint16:
      return append_integer<uint16_t>(out, value);
    case GgufValueType::kInt16:
      return append_integer<int16_t>(out, value);
    case GgufValueType::kUint32:
      return append_integer<uint32_t>(out, value);
    case GgufValueType::kInt32:
      return append_integer<int32_t>(out, value);
    case GgufValueType::kUint64:
      return append_integer<uint64_t>(out, value);
    case GgufValueType::kInt64:
      return append_integer<int64_t>(out, value);
    case GgufValueType::kFloat32:
      return append(out, static_cast<float>(std::get<double>(value.value)));
    case GgufValueType::kFloat64:
      return append(out, std::get<double>(value.value));
    case GgufValueType::kBool:
      return append(out, static_cast<uint8_t>(std::get<bool>(value.value)));
    case GgufValueType::kString:
      return append_string(out, std::get<std::string>(value.value));
    case GgufValueType::kArray: {
      const auto& elements = std::get<std::vector<GgufValue>>(value.value);
      append(out, static_cast<uint32_t>(value.element_type));
      append<uint64_t>(out, elements.size());
      for (const auto& element : elements) append_value(out, element);
      return;
    }
  }
}

template <typename T, typename Make>
GgufValue array_of(GgufValueType element_type, const std::vector<T>& values, Make make) {
  std::vector<GgufValue> elements;
  elements.reserve(values.size());
  for (const T& value : values) elements.push_back(make(value));
  return {GgufValueType::kArray, element_type, std::move(elements)};
}

}  // namespace

GgufValue GgufValue::strings(const std::vector<std::string>& v) {
  return array_of(GgufValueType::kString, v, [](const std::string& s) { return GgufValue::string(s); });
}
GgufValue GgufValue::i32s(const std::vector<int32_t>& v) {
  return array_of(GgufValueType::kInt32, v,
                  [](int32_t i) { return GgufValue{GgufValueType::kInt32, {}, int64_t{i}}; });
}
GgufValue GgufValue::f32s(const std::vector<float>& v) {
  return array_of(GgufValueType::kFloat32, v, [](float f) { return GgufValue::f32(f); });
}

struct GgufWriter::Output : AtomicOutput {
  using AtomicOutput::AtomicOutput;
  std::string path;
};

GgufWriter::GgufWriter(const std::filesystem::path& file,
                       const std::vector<std::pair<std::string, GgufValue>>& metadata,
                       std::vector<GgufTensor> tensors)
    : tensors_(std::move(tensors)) {
  std::string header = "GGUF";
  append<uint32_t>(header, 3);
  append<uint64_t>(header, tensors_.size());
  append<uint64_t>(header, metadata.size());
  std::set<std::string> names;
  for (const auto& [key, value] : metadata) {
    if (!names.insert(key).second)
      throw Error(cat(file.string(), ": two metadata values for the key '", key, "'"));
    append_string(header, key);
    append(header, static_cast<uint32_t>(value.type));
    append_value(header, value);
  }
  names.clear();
  uint64_t offset = 0;
  for (const auto& tensor : tensors_) {
    if (!names.insert(tensor.name).second)
      throw Error(cat(file.string(), ": there are two tensors of the name '", tensor.name, "'"));
    const int64_t row = tensor.dims.empty() ? 1 : tensor.dims[0];
    if (row % gguf_block_elements(tensor.type) != 0)
      throw Error(cat(file.string(), ": tensor '", tensor.name, "' has rows of ", row, ", which ",
                      gguf_type_name(tensor.type), " blocks of ", gguf_block_elements(tensor.type),
                      " do not divide"));
    append_string(header, tensor.name);
    append(header, static_cast<uint32_t>(tensor.dims.size()));
    for (const int64_t size : tensor.dims) append(header, static_cast<uint64_t>(size));
    append(header, static_cast<uint32_t>(tensor.type));
    append(header, offset);
    offset = aligned(offset + tensor.num_bytes());
  }
  output_ = std::make_unique<Output>(file);
  output_->path = file.string();
  output_->write(std::as_bytes(std::span(header)));
  output_->pad(aligned(header.size()) - header.size());
}

GgufWriter::~GgufWriter() = default;

void GgufWriter::write(std::span<const std::byte> bytes) {
  if (next_ == tensors_.size())
    throw Error(cat(output_->path, ": write() was called more often than there are tensors (", next_, ")"));
  const auto& tensor = tensors_[next_];
  if (bytes.size() != tensor.num_bytes())
    throw Error(cat(output_->path, ": tensor '", tensor.name, "' is ", gguf_type_name(tensor.type), " of ",
                    tensor.num_bytes(), " bytes, but ", bytes.size(), " were given"));
  output_->write(bytes);
  output_->pad(aligned(bytes.size()) - bytes.size());
  ++next_;
}

void GgufWriter::close() {
  if (next_ != tensors_.size())
    throw Error(cat(output_->path, ": closed after ", next_, " of ", tensors_.size(), " tensors"));
  output_->commit();
}

}  // namespace r1
