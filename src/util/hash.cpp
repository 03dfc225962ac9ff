#include <xxhash.h>

#include "descriptor.h"
#include "r1/util/file.h"

namespace r1 {
namespace {

// The canonical (big-endian) form, so that `xxhsum -H2` prints the same.
std::string hex(XXH128_hash_t hash) {
  static const char* kDigits = "0123456789abcdef";
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  std::string out;
  for (const unsigned char byte : canonical.digest) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

}  // namespace

std::string hash_bytes(std::string_view bytes) { return hex(XXH3_128bits(bytes.data(), bytes.size())); }

std::string hash_file(const std::filesystem::path& file) {
  const Descriptor in(file, O_RDONLY, "read");
  const std::unique_ptr<XXH3_state_t, FreeState> state(XXH3_createState());
  XXH3_128bits_reset(state.get());
  std::string buffer(size_t{1} << 20, '\0');
  while (const size_t got = in.read_some(buffer.data(), buffer.size())) {
    XXH3_128bits_update(state.get(), buffer.data(), got);
  }
  return hex(XXH3_128bits_digest(state.get()));
}

}  // namespace r1
