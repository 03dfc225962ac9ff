#include "sandbox_image.h"

// R1_SANDBOX_SERVER: path of the built server, from CMakeLists.txt.
asm(R"(
  .section .rodata
  .balign 16
  .hidden r1_sandbox_server_begin
  .hidden r1_sandbox_server_end
  .global r1_sandbox_server_begin
  .global r1_sandbox_server_end
r1_sandbox_server_begin:
  .incbin ")" R1_SANDBOX_SERVER R"("
r1_sandbox_server_end:
  .previous
)");

extern "C" const char r1_sandbox_server_begin[];
extern "C" const char r1_sandbox_server_end[];

namespace r1::sandbox {

std::string_view server_image() {
  return {r1_sandbox_server_begin, size_t(r1_sandbox_server_end - r1_sandbox_server_begin)};
}

}  // namespace r1::sandbox
