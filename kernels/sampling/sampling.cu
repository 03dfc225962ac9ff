// Drawing a token, rule and order at sampling_cuda.h: z[v] = logits[v] / temperature, weight w[v] = e^(z[v] -
// max z), token = first v with w[..v] > u w[..], over the tokens that the cuts keep. logits [R, V] in T;
// M draws: tokens [M], logprobs [M] float32.
//
// A block per draw; it passes over its row of logits, which stay in L2. Weights are counted in units of 2^-44,
// so every sum is an exact integer, in whatever order threads and atomics come. Without cuts: the maximum,
// then the weight of the warps' stretches of the row, then one stretch again. Every cut is a prefix of the tokens in
// descending order, so what remains is known by its weight alone and nothing is sorted: a place in that order
// is found by a histogram over (max z - z) in 2,048 bins of 1/64, then among the tokens of one bin (up to 512
// in shared memory by comparing all pairs; a fuller bin is divided by the bits of its logits until it is not,
// or until all of it is one value, whose tokens count by index). One pass for the maximum, one for the
// histogram, one per place: top_k, top_p and the draw are a place each, min_p is a sum.
//
// Bytes: V s per pass, the first from memory. V = 151,936, float32, 64 rows: 39 MB, 12 us at 3.35 TB/s; a pass
// over L2 is about 6 us, as one processor reads 64 bytes a cycle: 12 us without cuts, 35 us with top_k and
// top_p (estimated). One row takes the same time: it uses one processor.
#include "kernels/device/launch.h"
#include "kernels/device/philox.h"
#include "kernels/device/reduce.h"
#include "kernels/device/vector.h"
#include "kernels/sampling/sampling_cuda.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

using Mass = unsigned long long;

constexpr int64_t kMaxVocabulary = 1 << 18;
constexpr int kFractionBits = 44;  // 2^18 weights of at most 1 stay below 2^63
constexpr Mass kOne = Mass{1} << kFractionBits;
constexpr int kBins = 2048, kList = 512;
constexpr float kBinsPerUnit = 64;  // the first bins reach to e^-32, less than half of 2^-44

/// Larger logit, larger key.
__forceinline__ __device__ uint32_t key_of(float z) {
  const uint32_t bits = __float_as_uint(z);
  return bits ^ (bits >> 31 != 0 ? 0xFFFFFFFFu : 0x80000000u);
}
__forceinline__ __device__ float logit_of(uint32_t key) {
  return __uint_as_float(key >> 31 != 0 ? key ^ 0x80000000u : ~key);
}

/// a / b where that is less than 2^18 and b at most 2^44; the hardware has no such division, a call would spill.
__forceinline__ __device__ Mass quotient(Mass a, Mass b) {
  Mass q = 0;
  for (int bit = 17; bit >= 0; --bit) {
    if (a < b << bit) continue;
    a -= b << bit;
    q |= Mass{1} << bit;
  }
  return q;
}

/// A token in descending order, and what stands before it.
struct Place {
  uint32_t key;
  int index;  ///< -1: token number `equal_before`, by index, of those with this key
  Mass count_before, mass_before, equal_before;
};

constexpr int kMaxThreads = 512, kMaxWarps = kMaxThreads / 32;

struct Shared {
  uint32_t counts[kBins];
  Mass masses[kBins];
  uint32_t keys[kList];
  int indexes[kList];
  Mass weights[kList];
  int listed, bin, index;
  uint32_t lowest, highest;
  Place found;
  Mass segments[kMaxWarps], scan[kMaxWarps], of_warps[kMaxWarps];
};

/// What a token counts in a sum: its weight if that is at least `least`, or 1 if its key is `key`.
struct Measure {
  bool by_key;
  uint32_t key;
  Mass least;
};

/// One block's work on one row of logits.
template <class T>
class Row {
 public:
  static constexpr int kPack = Pack<T>::kCount;

  __device__ Row(const T* logits, int V, Shared& shared)
      : logits_(logits),
        V_(V),
        aligned_(rows_aligned(logits, 0)),
        shared_(shared),
        thread_(static_cast<int>(threadIdx.x)),
        threads_(static_cast<int>(blockDim.x)),
        segment_((V + threads_ / 32 * kPack - 1) / (threads_ / 32 * kPack) * kPack) {}

  /// The largest logit, of equal ones the first. Weights refer to it.
  __device__ int find_largest() {
    uint64_t best = 0;
    for_all(0, V_, thread_, threads_, [&](int v, float z) {
      best = max(best, uint64_t{key_of(z)} << 32 | (0xFFFFFFFFu - static_cast<uint32_t>(v)));
    });
    best = warp_reduce(best, Max{});
    if (lane_id() == 0) shared_.of_warps[warp_id()] = best;
    __syncthreads();
    for (int w = 0; w < threads_ / 32; ++w) best = max(best, uint64_t{shared_.of_warps[w]});
    largest_ = logit_of(static_cast<uint32_t>(best >> 32));
    return static_cast<int>(0xFFFFFFFFu - static_cast<uint32_t>(best));
  }

  __device__ void set_inverse_temperature(float x) { inv_temperature_ = x; }

  /// max z - z; 0 at the largest also where that is infinite.
  __device__ float distance(float logit) const { return logit == largest_ ? 0.0f : (largest_ - logit) * inv_temperature_; }
  __device__ Mass weight(float logit) const { return static_cast<Mass>(expf(-distance(logit)) * static_cast<float>(kOne)); }
  __device__ float logit(int v) const { return clean(to_float(logits_[v])); }

  /// The row's sum; find_by_index needs what it leaves.
  __device__ Mass sum_of(const Measure& measure) {
    const int begin = min(V_, warp_id() * segment_), end = min(V_, begin + segment_);
    Mass sum = 0;
    for_all(begin, end, lane_id(), 32, [&](int, float z) { sum += part_of(measure, z); });
    sum = warp_reduce(sum, Sum{});
    __syncthreads();
    if (lane_id() == 0) shared_.segments[warp_id()] = sum;
    __syncthreads();
    Mass total = 0;
    for (int s = 0; s < threads_ / 32; ++s) total += shared_.segments[s];
    return total;
  }
  /// The first token, by index, at which the sum exceeds `target`, which is less than sum_of(measure).
  __device__ int find_by_index(Mass target, const Measure& measure) {
    Mass before = 0;
    int s = 0;
    while (s + 1 < threads_ / 32 && target >= before + shared_.segments[s]) before += shared_.segments[s++];
    const int first = min(V_, s * segment_), last = min(V_, first + segment_);
    const int each = (segment_ + threads_ - 1) / threads_;
    const int begin = min(last, first + thread_ * each), end = min(last, begin + each);
    Mass own = 0;
    for (int v = begin; v < end; ++v) own += part_of(measure, logit(v));
    before += exclusive_scan(own);
    if (target >= before && target < before + own) {
      for (int v = begin; v < end; ++v) {
        before += part_of(measure, logit(v));
        if (target < before) {
          shared_.index = v;
          break;
        }
      }
    }
    __syncthreads();
    return shared_.index;
  }

  /// The token in descending order with count (or mass) before it <= target < that and its own.
  __device__ Place find_in_order(bool by_mass, Mass target) {
    Place base{0, -1, 0, 0, 0};
    uint32_t lowest = 0, highest = 0;
    for (int level = 0;; ++level) {
      int shift = 0;
      while (level > 0 && (highest - lowest) >> shift >= kBins) ++shift;
      const auto bin_at = [&](float z) {
        if (level == 0) return bin_of(z);
        const uint32_t key = key_of(z);
        return key < lowest || key > highest ? -1 : static_cast<int>((highest - key) >> shift);
      };
      if (level > 0 || !has_histogram_) fill_histogram(bin_at);
      has_histogram_ = level == 0;
      const uint32_t members = choose_bin(by_mass, target, base);
      const int bin = shared_.bin;
      collect([&](float z) { return bin_at(z) == bin; });
      lowest = shared_.lowest;
      highest = shared_.highest;
      if (members <= kList) return find_in_list(by_mass, target, static_cast<int>(members), base);
      if (lowest == highest) break;
    }
    // All of the bin is one value.
    const Mass each = weight(logit_of(highest));
    base.key = highest;
    base.equal_before = by_mass ? quotient(target - base.mass_before, each) : target - base.count_before;
    base.count_before += base.equal_before;
    base.mass_before += base.equal_before * each;
    return base;
  }

 private:
  static __device__ float clean(float z) { return z == z ? z + 0.0f : -INFINITY; }  // -0 becomes 0
  __device__ int bin_of(float logit) const {
    return static_cast<int>(fminf(distance(logit) * kBinsPerUnit, static_cast<float>(kBins - 1)));
  }
  __device__ Mass part_of(const Measure& measure, float logit) const {
    if (measure.by_key) return key_of(logit) == measure.key ? 1 : 0;
    const Mass w = weight(logit);
    return w >= measure.least ? w : 0;
  }

  /// fn(v, logit) of tokens begin .. end - 1, for worker `worker` of `workers`; begin is a multiple of kPack.
  template <class Fn>
  __device__ void for_all(int begin, int end, int worker, int workers, const Fn& fn) const {
#pragma unroll 1
    for (int v = begin + worker * kPack; v < end; v += workers * kPack) {
      const Pack<T> pack = load_some(logits_ + v, end - v, aligned_);
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        if (v + i < end) fn(v + i, clean(to_float(pack.v[i])));
      }
    }
  }

  /// Sum over the threads before this one. Begins and ends with a barrier.
  __device__ Mass exclusive_scan(Mass x) {
    const Mass inclusive = warp_scan(x);
    __syncthreads();
    if (lane_id() == 31) shared_.scan[warp_id()] = inclusive;
    __syncthreads();
    Mass before = inclusive - x;
    for (int w = 0; w < warp_id(); ++w) before += shared_.scan[w];
    return before;
  }

  template <class BinAt>
  __device__ void fill_histogram(const BinAt& bin_at) {
    __syncthreads();
    for (int i = thread_; i < kBins; i += threads_) {
      shared_.counts[i] = 0;
      shared_.masses[i] = 0;
    }
    __syncthreads();
    uint32_t last = 0;
    for_all(0, V_, thread_, threads_, [&](int, float z) {
      const int bin = bin_at(z);
      if (bin < 0) return;
      const Mass w = weight(z);
      if (bin == kBins - 1 && w == 0) {
        ++last;  // at a low temperature most tokens: one atomic each would queue
        return;
      }
      atomicAdd(&shared_.counts[bin], 1u);
      if (w > 0) atomicAdd(&shared_.masses[bin], w);
    });
    if (last > 0) atomicAdd(&shared_.counts[kBins - 1], last);
    __syncthreads();
  }

  /// The bin with the target, into shared_.bin; what comes before it is added to base. Returns its count.
  __device__ uint32_t choose_bin(bool by_mass, Mass target, Place& base) {
    const int each = kBins / threads_, first = thread_ * each;
    Mass count = 0, mass = 0;
    for (int i = first; i < first + each; ++i) {
      count += shared_.counts[i];
      mass += shared_.masses[i];
    }
    count = base.count_before + exclusive_scan(count);
    mass = base.mass_before + exclusive_scan(mass);
    for (int i = first; i < first + each; ++i) {
      const Mass before = by_mass ? mass : count, own = by_mass ? shared_.masses[i] : shared_.counts[i];
      if (target >= before && target < before + own) {
        shared_.bin = i;
        shared_.found.count_before = count;
        shared_.found.mass_before = mass;
      }
      count += shared_.counts[i];
      mass += shared_.masses[i];
    }
    __syncthreads();
    base.count_before = shared_.found.count_before;
    base.mass_before = shared_.found.mass_before;
    return shared_.counts[shared_.bin];
  }

  /// kList of the tokens that belong, in any order, and the range of all their keys.
  template <class Belongs>
  __device__ void collect(const Belongs& belongs) {
    if (thread_ == 0) {
      shared_.listed = 0;
      shared_.lowest = 0xFFFFFFFFu;
      shared_.highest = 0;
    }
    __syncthreads();
    uint32_t lowest = 0xFFFFFFFFu, highest = 0;
    for_all(0, V_, thread_, threads_, [&](int v, float z) {
      if (!belongs(z)) return;
      lowest = min(lowest, key_of(z));
      highest = max(highest, key_of(z));
      const int at = atomicAdd(&shared_.listed, 1);
      if (at >= kList) return;
      shared_.keys[at] = key_of(z);
      shared_.indexes[at] = v;
      shared_.weights[at] = weight(z);
    });
    if (lowest <= highest) {
      atomicMin(&shared_.lowest, lowest);
      atomicMax(&shared_.highest, highest);
    }
    __syncthreads();
  }

  __device__ Place find_in_list(bool by_mass, Mass target, int members, const Place& base) {
    for (int i = thread_; i < members; i += threads_) {
      Place place{shared_.keys[i], shared_.indexes[i], base.count_before, base.mass_before, 0};
      for (int j = 0; j < members; ++j) {
        if (shared_.keys[j] > place.key || (shared_.keys[j] == place.key && shared_.indexes[j] < place.index)) {
          ++place.count_before;
          place.mass_before += shared_.weights[j];
        }
      }
      const Mass before = by_mass ? place.mass_before : place.count_before;
      if (target >= before && target < before + (by_mass ? shared_.weights[i] : 1)) shared_.found = place;
    }
    __syncthreads();
    const Place place = shared_.found;
    __syncthreads();
    return place;
  }

  const T* logits_;
  int V_;
  bool aligned_;
  Shared& shared_;
  int thread_, threads_;
  int segment_;  ///< tokens of a warp in sum_of
  float largest_ = 0, inv_temperature_ = 1;
  bool has_histogram_ = false;
};

/// floor(u total), u in units of 2^-53.
__forceinline__ __device__ Mass share_of(uint64_t u, Mass total) {
  return static_cast<Mass>((static_cast<unsigned __int128>(u) * total) >> 53);
}

template <class T>
__global__ void __launch_bounds__(kMaxThreads, 2)  // of itself ptxas aims at 3 blocks on sm_80 and spills
    sample_kernel(int64_t V, const T* logits, const Draw* draws, int64_t* tokens, float* logprobs) {
  R1_SHARED(shared, Shared);
  const Draw draw = draws[blockIdx.x];
  if (draw.row < 0) return;
  Row<T> row(logits + draw.row * V, static_cast<int>(V), shared);
  int token = row.find_largest();
  const uint64_t u = draw.uniform < 0 ? philox_53_bits(draw.position, draw.sample, draw.prompt, draw.step, draw.key[0], draw.key[1])
                                      : static_cast<uint64_t>(draw.uniform * 0x1p53);
  const bool greedy = draw.inverse_temperature == 0, by_count = draw.top_k > 0 && draw.top_k < V;
  if (!greedy) row.set_inverse_temperature(draw.inverse_temperature);
  Measure measure{false, 0, 0};
  Mass total = !by_count || greedy ? row.sum_of(measure) : 0;
  Mass target = share_of(u, total);
  bool by_index = !greedy;
  if (!greedy && (draw.top_k > 0 || draw.top_p < 1 || draw.min_p > 0)) {
    Place place{0, -1, 0, 0, 0};
    // What the cuts keep is a prefix in descending order: that of the lightest.
#pragma unroll 1
    for (int stage = 0; stage < 3; ++stage) {
      if (stage == 0 ? !by_count : stage == 1 && !(draw.top_p < 1)) continue;
      if (stage == 0) target = static_cast<Mass>(draw.top_k) - 1;
      if (stage == 1) {
        const auto wanted = static_cast<Mass>(ceil(draw.top_p * static_cast<double>(total)));
        target = min(max(wanted, Mass{1}), total) - 1;
      }
      if (stage == 2) {
        if (draw.min_p > 0) {
          measure.least = static_cast<Mass>(ceil(min(draw.min_p, 2.0) * static_cast<double>(kOne)));
          total = min(total, max(row.sum_of(measure), kOne));  // above 1: the first token alone
        }
        target = share_of(u, total);
      }
      place = row.find_in_order(stage > 0, target);
      if (stage < 2) total = place.mass_before + row.weight(logit_of(place.key));
    }
    token = place.index;
    by_index = token < 0;
    if (by_index) {
      measure = {true, place.key, 0};
      target = place.equal_before;
      row.sum_of(measure);
    }
  }
  if (by_index) token = row.find_by_index(target, measure);
  if (threadIdx.x != 0) return;
  tokens[blockIdx.x] = token;
  const auto sum = static_cast<float>(static_cast<double>(total) / static_cast<double>(kOne));
  logprobs[blockIdx.x] = -row.distance(row.logit(token)) - logf(sum);
}

}  // namespace

template <class T>
void sample_tokens(int64_t M, int64_t V, const T* logits, const Draw* draws, int64_t* tokens, float* logprobs, cudaStream_t stream) {
  if (V < 1 || V > kMaxVocabulary) {
    throw std::runtime_error("sample_tokens: a vocabulary of " + std::to_string(V) + "; accepted: 1 to " + std::to_string(kMaxVocabulary));
  }
  if (M == 0) return;
  launch({.name = "sample_tokens", .blocks = M, .threads = V <= 4096 ? 128 : kMaxThreads, .stream = stream}, sample_kernel<T>, V, logits,
         draws, tokens, logprobs);
}

template void sample_tokens<float>(int64_t, int64_t, const float*, const Draw*, int64_t*, float*, cudaStream_t);
template void sample_tokens<Bf16>(int64_t, int64_t, const Bf16*, const Draw*, int64_t*, float*, cudaStream_t);

}  // namespace r1::kernels::cuda
