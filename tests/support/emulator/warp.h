#pragma once
#include <cstdint>

#include "support/emulator/fault.h"

// What the lanes of a warp do together, with the semantics and register layouts of the PTX ISA.
namespace r1::emulator {

/// Lane L gets the value of lane source(L); `source` is computed by the caller as PTX's shfl does. `bits` up
/// to 64.
uint64_t shuffle(const char* what, unsigned mask, uint64_t bits, int source, Site site);
unsigned ballot(const char* what, unsigned mask, bool predicate, Site site);
/// Lanes of the mask whose value equals this lane's.
unsigned match_any(unsigned mask, uint64_t bits, Site site);

/// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32, PTX ISA 9.7.14.5.8: with g = lane / 4, t = lane % 4,
/// a = {A[g][2t..], A[g+8][2t..], A[g][2t+8..], A[g+8][2t+8..]}, b = {B[2t..][g], B[2t+8..][g]},
/// c = {C[g][2t], C[g][2t+1], C[g+8][2t], C[g+8][2t+1]}; two bf16 to a register, the lower column (row of B)
/// in the low half.
void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site);

/// ldmatrix.sync.aligned.m8n8.x4[.trans].shared.b16: lane 8 i + r gives the address of row r of matrix i;
/// lane L gets of matrix i the elements [L / 4][2 (L % 4)] and [..][.. + 1], of the transposed matrix with
/// `transpose`.
void ldmatrix_x4(uint32_t (&registers)[4], const void* row, bool transpose, Site site);

}  // namespace r1::emulator
