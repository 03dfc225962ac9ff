#include "kernels/cpu/isa.h"

#include <atomic>
#include <stdexcept>

namespace r1::kernels {
namespace {

Isa best() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    throw std::runtime_error("this CPU has no AVX2 and FMA; r1's CPU kernels need both (Intel since 2013, AMD since 2015)");
  }
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? Isa::kAvx512 : Isa::kAvx2;
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{best()};
  return isa;
}

}  // namespace

Isa cpu_isa() { return current().load(std::memory_order_relaxed); }
const char* isa_name(Isa isa) { return isa == Isa::kAvx512 ? "avx512" : "avx2"; }

void set_cpu_isa(Isa isa) {
  if (isa == Isa::kAvx512 && best() != Isa::kAvx512) throw std::runtime_error("this CPU has no AVX-512");
  current() = isa;
}

}  // namespace r1::kernels
