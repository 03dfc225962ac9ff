#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace r1 {

/// CRC-32C (Castagnoli), as TFRecord files use it. Source: RFC 3720, appendix B.4.
uint32_t crc32c(std::string_view bytes);

/// One TensorBoard event file: TFRecord frames
///   uint64 length | masked crc32c(length) | data | masked crc32c(data)      little endian
/// of `Event` messages (tensorflow/core/util/event.proto), encoded here field by field.
class TensorBoardFile {
 public:
  /// Creates tb/events.out.tfevents.<10 digits>.r1, the digits being wall_time_s or the first later second
  /// that is free: TensorBoard reads files in the order of their names. The first event carries the format's
  /// version; purge_step >= 0 adds a session start, by which TensorBoard drops older events with that step or
  /// a later one. Throws Error naming path and reason.
  TensorBoardFile(const std::filesystem::path& folder, double wall_time_s, int64_t purge_step);

  void scalars(double wall_time_s, int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void text(double wall_time_s, int64_t step, const std::string& tag, const std::string& text);

 private:
  void append(const std::string& event);
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace r1
