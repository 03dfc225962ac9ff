#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace r1 {

/// Philox4x32-10: 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
/// Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), section 3.3.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// What a draw is for. Two purposes never share numbers, whatever their other coordinates.
enum class Stream : uint32_t { kInit = 1, kShuffle = 2, kSampling = 3, kProblems = 4, kTest = 5, kMixture = 6 };

/// The coordinates of one draw. A draw is a function of these alone, never of the order of calls, so the
/// number of ranks, the micro-batch and whatever else is in a batch change nothing.
struct DrawKey {
  uint64_t seed = 0;
  Stream stream = Stream::kInit;
  uint32_t stage = 0;  ///< hash of the stage's name, see stage_id
  uint32_t step = 0;
  uint32_t prompt = 0;    ///< index of the prompt in its step, or of the item
  uint32_t sample = 0;    ///< which of a prompt's completions
  uint32_t position = 0;  ///< which token of the completion
};

/// FNV-1a of a stage's name.
uint32_t stage_id(const char* name);

/// The Philox key of all draws of one (seed, stream, stage): a mix of the three.
std::array<uint32_t, 2> philox_key(const DrawKey& key);

/// 128 bits for `key`: philox4x32 at counter (position, sample, prompt, step).
std::array<uint32_t, 4> draw_bits(const DrawKey& key);

/// Uniform in [0, 1), 53 bits.
double draw_uniform(const DrawKey& key);

/// Uniform integer in [0, n), n >= 1, without modulo bias above 2^-64.
uint64_t draw_below(const DrawKey& key, uint64_t n);

/// A permutation of 0..n-1: Fisher-Yates whose i-th draw is draw_below at (key with position = i).
std::vector<int64_t> draw_permutation(DrawKey key, int64_t n);

}  // namespace r1
