#include "r1/util/random.h"

#include <numeric>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u;    // Philox-4x32 multipliers
constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;  // golden ratio, sqrt(3) - 1

// The finalizer of SplitMix64: a bijection of 64 bits, so distinct inputs stay distinct.
uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

uint64_t high_word(const std::array<uint32_t, 4>& bits) { return (uint64_t{bits[0]} << 32) | bits[1]; }

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{kMul0} * counter[0], product1 = uint64_t{kMul1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

uint32_t stage_id(const char* name) {
  uint32_t hash = 0x811C9DC5u;
  for (; *name != '\0'; ++name) hash = (hash ^ static_cast<uint8_t>(*name)) * 0x01000193u;
  return hash;
}

std::array<uint32_t, 2> philox_key(const DrawKey& key) {
  // For one seed the map (stream, stage) -> Philox key is a bijection; the outer mix spreads small
  // differences.
  const uint64_t purpose = (uint64_t{static_cast<uint32_t>(key.stream)} << 32) | key.stage;
  const uint64_t k = mix64(mix64(key.seed + 0x9E3779B97F4A7C15ull) ^ purpose);
  return {static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32)};
}

std::array<uint32_t, 4> draw_bits(const DrawKey& key) {
  return philox4x32({key.position, key.sample, key.prompt, key.step}, philox_key(key));
}

double draw_uniform(const DrawKey& key) {
  return static_cast<double>(high_word(draw_bits(key)) >> 11) * 0x1p-53;
}

uint64_t draw_below(const DrawKey& key, uint64_t n) {
  if (n == 0) throw Error("draw_below: n is 0; accepted: 1 or more");
  return static_cast<uint64_t>((static_cast<unsigned __int128>(high_word(draw_bits(key))) * n) >> 64);
}

std::vector<int64_t> draw_permutation(DrawKey key, int64_t n) {
  if (n < 0 || n > (int64_t{1} << 32)) {
    throw Error(cat("draw_permutation: n is ", n, "; accepted: 0 to 2^32, the positions of one draw key"));
  }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) {
    key.position = static_cast<uint32_t>(i);
    std::swap(order[static_cast<size_t>(i)], order[draw_below(key, static_cast<uint64_t>(i) + 1)]);
  }
  return order;
}

}  // namespace r1
