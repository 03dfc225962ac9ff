#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace r1 {

/// Byte string -> int32, open addressing. Keys are views: their bytes must outlive the map. Filled once, then
/// read.
class ByteStringMap {
 public:
  /// Returns false, and changes nothing, when the key is there already.
  bool insert(std::string_view key, int32_t value);
  /// The value, or -1.
  int32_t find(std::string_view key) const;
  size_t size() const { return size_; }

  static uint64_t hash(std::string_view key);

 private:
  struct Slot {
    const char* data = nullptr;  // nullptr: free
    uint32_t length = 0;
    int32_t value = -1;
  };
  void grow();

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace r1
