#include "byte_string_map.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

namespace r1 {

uint64_t ByteStringMap::hash(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

bool ByteStringMap::insert(std::string_view key, int32_t value) {
  if (2 * (size_ + 1) > slots_.size()) grow();
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash(key) & mask;; at = (at + 1) & mask) {
    Slot& slot = slots_[at];
    if (!slot.data) {
      slot = {key.data() ? key.data() : "", static_cast<uint32_t>(key.size()), value};
      ++size_;
      return true;
    }
    if (std::string_view(slot.data, slot.length) == key) return false;
  }
}

int32_t ByteStringMap::find(std::string_view key) const {
  if (slots_.empty()) return -1;
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash(key) & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (!slot.data) return -1;
    if (slot.length == key.size() && std::memcmp(slot.data, key.data(), key.size()) == 0) return slot.value;
  }
}

void ByteStringMap::grow() {
  std::vector<Slot> old;
  old.swap(slots_);
  slots_.resize(old.empty() ? 64 : 2 * old.size());
  size_ = 0;
  for (const Slot& slot : old)
    if (slot.data) insert({slot.data, slot.length}, slot.value);
}

}  // namespace r1
