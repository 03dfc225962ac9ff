#pragma once
// Sixteen float32 lanes with one meaning on AVX2 (two registers) and AVX-512 (one): every operation is the same IEEE
// operation lane by lane, and `sum` is one fixed tree, so both builds give the same bits.
//
// Only for the files that are compiled once per instruction set. They keep to internal linkage and plain pointers: an
// inline function of the standard library compiled here could be picked by the linker for the whole program.
#include <immintrin.h>
#include <stdint.h>

namespace r1::kernels::R1_ISA {

#if defined(__AVX512F__)
struct F32x16 {
  __m512 v;
};
static inline F32x16 zero() { return {_mm512_setzero_ps()}; }
static inline F32x16 set(float x) { return {_mm512_set1_ps(x)}; }
static inline F32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline void store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
static inline F32x16 add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline F32x16 sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline F32x16 mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline F32x16 div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// Nearest integer, ties to even.
static inline F32x16 round(F32x16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// 2^n for integral n in [-126, 127].
static inline F32x16 pow2(F32x16 n) {
  const __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(e, 23))};
}
/// Lanes below `count` of a, zero elsewhere.
static inline F32x16 keep_first(F32x16 a, int count) {
  const __mmask16 m = count >= 16 ? 0xFFFF : static_cast<__mmask16>((1u << count) - 1);
  return {_mm512_maskz_mov_ps(m, a.v)};
}
/// Loads `count` (0..) floats, at most sixteen, zero elsewhere; reads nothing past them.
static inline F32x16 load_first(const float* p, int64_t count) {
  if (count >= 16) return load(p);
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p)};
}
static inline void store_first(float* p, F32x16 a, int64_t count) {
  if (count >= 16) return store(p, a);
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), a.v);
}
/// a where x >= limit, 0 where x < limit.
static inline F32x16 zero_below(F32x16 a, F32x16 x, F32x16 limit) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_GE_OQ), a.v)};
}
static inline __m256 low8(F32x16 a) { return _mm512_castps512_ps256(a.v); }
static inline __m256 high8(F32x16 a) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1));
}
#else
struct F32x16 {
  __m256 lo, hi;
};
static inline F32x16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline F32x16 set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
static inline F32x16 add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
static inline F32x16 sub(F32x16 a, F32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
static inline F32x16 mul(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
static inline F32x16 div(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
static inline F32x16 max(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
static inline F32x16 min(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
static inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
static inline F32x16 round(F32x16 a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline __m256 pow2_8(__m256 n) {
  const __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
static inline F32x16 pow2(F32x16 n) { return {pow2_8(n.lo), pow2_8(n.hi)}; }
static inline __m256 first_mask8(int count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
}
static inline F32x16 keep_first(F32x16 a, int count) {
  return {_mm256_and_ps(a.lo, first_mask8(count)), _mm256_and_ps(a.hi, first_mask8(count - 8))};
}
static inline F32x16 load_first(const float* p, int64_t count) {
  if (count >= 16) return load(p);
  const int n = static_cast<int>(count);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(first_mask8(n))),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(first_mask8(n - 8)))};
}
static inline void store_first(float* p, F32x16 a, int64_t count) {
  if (count >= 16) return store(p, a);
  const int n = static_cast<int>(count);
  _mm256_maskstore_ps(p, _mm256_castps_si256(first_mask8(n)), a.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(first_mask8(n - 8)), a.hi);
}
static inline F32x16 zero_below(F32x16 a, F32x16 x, F32x16 limit) {
  return {_mm256_and_ps(a.lo, _mm256_cmp_ps(x.lo, limit.lo, _CMP_GE_OQ)),
          _mm256_and_ps(a.hi, _mm256_cmp_ps(x.hi, limit.hi, _CMP_GE_OQ))};
}
static inline __m256 low8(F32x16 a) { return a.lo; }
static inline __m256 high8(F32x16 a) { return a.hi; }
#endif

/// ((lane i + lane i+8) + (i+4)) + ... : one tree on both instruction sets.
static inline float sum(F32x16 a) {
  const __m256 s8 = _mm256_add_ps(low8(a), high8(a));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/// The same tree in float64.
static inline double sum_double(F32x16 a) {
  const __m256 lo = low8(a), hi = high8(a);
  const __m256d a0 = _mm256_cvtps_pd(_mm256_castps256_ps128(lo)), a1 = _mm256_cvtps_pd(_mm256_extractf128_ps(lo, 1));
  const __m256d b0 = _mm256_cvtps_pd(_mm256_castps256_ps128(hi)), b1 = _mm256_cvtps_pd(_mm256_extractf128_ps(hi, 1));
  const __m256d s = _mm256_add_pd(_mm256_add_pd(a0, b0), _mm256_add_pd(a1, b1));
  const __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
  return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

static inline float max_lane(F32x16 a) {
  const __m256 s8 = _mm256_max_ps(low8(a), high8(a));
  const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}

/// e^x, relative error below 2 units in the last place; 0 below -87.3 (where float32 turns subnormal), largest
/// argument 88. x = n ln2 + r with ln2 in two parts, |r| <= ln2 / 2; e^r by its Taylor polynomial of degree 7.
static inline F32x16 exp(F32x16 x) {
  const F32x16 low = set(-87.3f);
  const F32x16 clamped = min(max(x, low), set(88.0f));
  const F32x16 n = round(mul(clamped, set(1.44269504f)));
  F32x16 r = fma(n, set(-0.693145751953125f), clamped);  // 15 bits of ln2: the product is exact
  r = fma(n, set(-1.42860682e-06f), r);
  F32x16 p = set(1.0f / 5040);
  p = fma(p, r, set(1.0f / 720));
  p = fma(p, r, set(1.0f / 120));
  p = fma(p, r, set(1.0f / 24));
  p = fma(p, r, set(1.0f / 6));
  p = fma(p, r, set(0.5f));
  p = fma(p, r, set(1.0f));
  p = fma(p, r, set(1.0f));
  return zero_below(mul(p, pow2(n)), x, low);
}

/// 1 / (1 + e^-x).
static inline F32x16 sigmoid(F32x16 x) { return div(set(1.0f), add(set(1.0f), exp(sub(zero(), x)))); }

}  // namespace r1::kernels::R1_ISA
