#pragma once

namespace r1::kernels {

/// The vector instructions that the CPU kernels were compiled for. Both give the same bits.
enum class Isa { kAvx2, kAvx512 };

/// The best one that this CPU has. Throws std::runtime_error on a CPU without AVX2 and FMA.
Isa cpu_isa();
const char* isa_name(Isa isa);

/// For tests: forces an instruction set that the CPU has.
void set_cpu_isa(Isa isa);

/// Calls avx512::fn or avx2::fn.
#define R1_CPU_CALL(fn, ...) \
  (::r1::kernels::cpu_isa() == ::r1::kernels::Isa::kAvx512 ? avx512::fn(__VA_ARGS__) : avx2::fn(__VA_ARGS__))

}  // namespace r1::kernels
