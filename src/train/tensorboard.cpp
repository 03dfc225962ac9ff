#include "tensorboard.h"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

/// Protocol buffer wire format: a key (field << 3 | type), then a varint (type 0), 8 bytes (1), a length and
/// bytes (2) or 4 bytes (5). A field with its default value is not written.
class Message {
 public:
  void varint_field(uint32_t field, int64_t value) {
    if (value == 0) return;
    varint(field << 3);
    varint(static_cast<uint64_t>(value));
  }
  void double_field(uint32_t field, double value) {
    if (std::bit_cast<uint64_t>(value) == 0) return;
    varint(field << 3 | 1);
    fixed(std::bit_cast<uint64_t>(value), 8);
  }
  /// A member of a oneof is written even when it is 0.
  void oneof_float_field(uint32_t field, float value) {
    varint(field << 3 | 5);
    fixed(std::bit_cast<uint32_t>(value), 4);
  }
  void bytes_field(uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  void message_field(uint32_t field, const Message& value) { bytes_field(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

  static std::string little_endian(uint64_t value, int size) {
    Message message;
    message.fixed(value, size);
    return message.bytes_;
  }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  void fixed(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_ += static_cast<char>(value >> 8 * i);
  }
  std::string bytes_;
};

/// Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7.
Message event(double wall_time_s, int64_t step) {
  Message message;
  message.double_field(1, wall_time_s);
  message.varint_field(2, step);
  return message;
}

std::array<uint32_t, 256> crc32c_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0u);
    table[i] = value;
  }
  return table;
}

/// A stored checksum is rotated and shifted, because a checksum of data with checksums in it is weak.
uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const auto table = crc32c_table();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

TensorBoardFile::TensorBoardFile(const std::filesystem::path& folder, double wall_time_s,
                                 int64_t purge_step) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);  // opening the file reports what went wrong
  auto second = static_cast<int64_t>(wall_time_s);
  do {
    std::array<char, 64> name{};
    std::snprintf(name.data(), name.size(), "events.out.tfevents.%010lld.r1",
                  static_cast<long long>(second++));
    path_ = folder / name.data();
  } while (std::filesystem::exists(path_, ignored));
  out_.open(path_, std::ios::binary);
  const int64_t step = purge_step < 0 ? 0 : purge_step;
  auto version = event(wall_time_s, step);
  version.bytes_field(3, "brain.Event:2");
  append(version.bytes());
  if (purge_step >= 0) {
    Message session;
    session.varint_field(1, 1);  // SessionLog.status = START
    auto start = event(wall_time_s, step);
    start.message_field(7, session);
    append(start.bytes());
  }
}

void TensorBoardFile::scalars(double wall_time_s, int64_t step,
                              const std::vector<std::pair<std::string, double>>& values) {
  Message summary;
  for (const auto& [tag, value] : values) {
    Message entry;  // Summary.Value: tag = 1, simple_value = 2
    entry.bytes_field(1, tag);
    entry.oneof_float_field(2, static_cast<float>(value));
    summary.message_field(1, entry);
  }
  auto message = event(wall_time_s, step);
  message.message_field(5, summary);
  append(message.bytes());
}

void TensorBoardFile::text(double wall_time_s, int64_t step, const std::string& tag,
                           const std::string& text) {
  Message dimension, shape, tensor;  // TensorProto: dtype = 1, tensor_shape = 2, string_val = 8
  dimension.varint_field(1, 1);
  shape.message_field(2, dimension);
  tensor.varint_field(1, 7);  // DT_STRING
  tensor.message_field(2, shape);
  tensor.bytes_field(8, text);
  Message plugin, metadata;  // SummaryMetadata: plugin_data = 1 {plugin_name = 1}
  plugin.bytes_field(1, "text");
  metadata.message_field(1, plugin);
  Message entry, summary;  // Summary.Value: tag = 1, tensor = 8, metadata = 9
  entry.bytes_field(1, tag);
  entry.message_field(8, tensor);
  entry.message_field(9, metadata);
  summary.message_field(1, entry);
  auto message = event(wall_time_s, step);
  message.message_field(5, summary);
  append(message.bytes());
}

void TensorBoardFile::append(const std::string& event) {
  const std::string length = Message::little_endian(event.size(), 8);
  errno = 0;
  out_ << length << Message::little_endian(masked_crc32c(length), 4) << event
       << Message::little_endian(masked_crc32c(event), 4) << std::flush;
  if (!out_)
    throw Error(cat(path_.string(), ": cannot write ", event.size(), " bytes: ", std::strerror(errno)));
}

}  // namespace r1
