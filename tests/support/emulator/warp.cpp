#include "support/emulator/warp.h"

#include <cstring>
#include <string>

#include "support/emulator/grid.h"

namespace r1::emulator {
namespace {

struct ShuffleLane {
  uint64_t bits;
  int source;
  uint64_t result;
  bool missing;
};
struct VoteLane {
  uint64_t bits;
  unsigned result;
};
struct MmaLane {
  float* c;
  const uint32_t* a;
  const uint32_t* b;
};
struct LdmatrixLane {
  const void* row;
  uint32_t* registers;
  bool transpose;
};

float low(uint32_t pair) {
  const uint32_t bits = pair << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
float high(uint32_t pair) {
  const uint32_t bits = pair & 0xFFFF0000u;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

void combine_shuffle(void* const (&lanes)[32], unsigned active) {
  for (int i = 0; i < 32; ++i) {
    if ((active >> i & 1) == 0) continue;
    auto* lane = static_cast<ShuffleLane*>(lanes[i]);
    const auto* from = static_cast<const ShuffleLane*>(lanes[lane->source]);
    lane->missing = from == nullptr;
    lane->result = from == nullptr ? 0 : from->bits;
  }
}

void combine_ballot(void* const (&lanes)[32], unsigned active) {
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i) {
    if (active >> i & 1 && static_cast<VoteLane*>(lanes[i])->bits != 0) votes |= 1u << i;
  }
  for (int i = 0; i < 32; ++i) {
    if (active >> i & 1) static_cast<VoteLane*>(lanes[i])->result = votes;
  }
}

void combine_match(void* const (&lanes)[32], unsigned active) {
  for (int i = 0; i < 32; ++i) {
    if ((active >> i & 1) == 0) continue;
    auto* lane = static_cast<VoteLane*>(lanes[i]);
    lane->result = 0;
    for (int j = 0; j < 32; ++j) {
      if (active >> j & 1 && static_cast<VoteLane*>(lanes[j])->bits == lane->bits) lane->result |= 1u << j;
    }
  }
}

void need_all(const char* what, unsigned active) {
  if (active != 0xFFFFFFFFu)
    fail(std::string("divergent ") + what + ": some threads of the warp have returned");
}

void combine_mma(void* const (&lanes)[32], unsigned active) {
  need_all("mma.sync", active);
  float a[16][16], b[8][16], c[16][8];
  for (int i = 0; i < 32; ++i) {
    const auto* lane = static_cast<const MmaLane*>(lanes[i]);
    const int g = i / 4, t = 2 * (i % 4);
    for (int r = 0; r < 4; ++r) {
      const int row = g + 8 * (r % 2), column = t + 8 * (r / 2);
      a[row][column] = low(lane->a[r]);
      a[row][column + 1] = high(lane->a[r]);
    }
    for (int r = 0; r < 2; ++r) {
      b[g][t + 8 * r] = low(lane->b[r]);
      b[g][t + 8 * r + 1] = high(lane->b[r]);
    }
    for (int r = 0; r < 4; ++r) c[g + 8 * (r / 2)][t + r % 2] = lane->c[r];
  }
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[m][k] * b[n][k];
      c[m][n] += sum;
    }
  }
  for (int i = 0; i < 32; ++i) {
    auto* lane = static_cast<MmaLane*>(lanes[i]);
    for (int r = 0; r < 4; ++r) lane->c[r] = c[i / 4 + 8 * (r / 2)][2 * (i % 4) + r % 2];
  }
  count_matrix_flops(2 * 16 * 8 * 16);
}

void combine_ldmatrix(void* const (&lanes)[32], unsigned active) {
  need_all("ldmatrix", active);
  for (int i = 0; i < 32; ++i) {
    auto* lane = static_cast<LdmatrixLane*>(lanes[i]);
    for (int m = 0; m < 4; ++m) {
      uint16_t pair[2];
      for (int e = 0; e < 2; ++e) {
        const int row = lane->transpose ? 2 * (i % 4) + e : i / 4,
                  column = lane->transpose ? i / 4 : 2 * (i % 4) + e;
        pair[e] =
            static_cast<const uint16_t*>(static_cast<const LdmatrixLane*>(lanes[8 * m + row])->row)[column];
      }
      lane->registers[m] = pair[0] | uint32_t{pair[1]} << 16;
    }
  }
}

constexpr unsigned kAll = 0xFFFFFFFFu;

void need_whole_warp(const char* what, Site site) {
  const Index3 block = block_dim();
  const unsigned count = block.x * block.y * block.z;
  const Index3 t = thread_index();
  const unsigned linear = t.x + block.x * (t.y + block.y * t.z);
  if (linear / 32 * 32 + 32 > count)
    fail(std::string(what) + " at " + describe(site) + " in a warp of fewer than 32 threads");
}

}  // namespace

uint64_t shuffle(const char* what, unsigned mask, uint64_t bits, int source, Site site) {
  const HostSection host;
  ShuffleLane lane{bits, source, 0, false};
  warp_collective(what, mask, &lane, combine_shuffle, site);
  if (lane.missing) {
    fail(std::string("divergent ") + what + " at " + describe(site) + ": lane " +
         std::to_string(lane_index()) + " reads lane " + std::to_string(source) + ", which takes no part");
  }
  return lane.result;
}

unsigned ballot(const char* what, unsigned mask, bool predicate, Site site) {
  const HostSection host;
  VoteLane lane{predicate, 0};
  warp_collective(what, mask, &lane, combine_ballot, site);
  return lane.result;
}

unsigned match_any(unsigned mask, uint64_t bits, Site site) {
  const HostSection host;
  VoteLane lane{bits, 0};
  warp_collective("__match_any_sync", mask, &lane, combine_match, site);
  return lane.result;
}

void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  const HostSection host;
  need_whole_warp("mma.sync", site);
  MmaLane lane{c, a, b};
  warp_collective("mma.sync", kAll, &lane, combine_mma, site);
}

void ldmatrix_x4(uint32_t (&registers)[4], const void* row, bool transpose, Site site) {
  const HostSection host;
  need_whole_warp("ldmatrix", site);
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    fail("unaligned row address for ldmatrix at " + describe(site));
  check_access(row, 16, Access::kRead, __builtin_return_address(0));
  LdmatrixLane lane{row, registers, transpose};
  warp_collective(transpose ? "ldmatrix.trans" : "ldmatrix", kAll, &lane, combine_ldmatrix, site);
}

}  // namespace r1::emulator
