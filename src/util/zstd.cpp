#include <zstd.h>

#include <algorithm>
#include <memory>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/jsonl.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr int kLevel = 3;  // the library's default

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

struct FreeStream {
  void operator()(ZSTD_DCtx* stream) const { ZSTD_freeDCtx(stream); }
};

}  // namespace

void write_zstd(const std::filesystem::path& file, std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size());
  if (ZSTD_isError(size)) throw Error(cat(file.string(), ": cannot compress: ", ZSTD_getErrorName(size)));
  write_file_atomic(file, std::string_view(out).substr(0, size));
}

std::string read_zstd(const std::filesystem::path& file) {
  const std::string packed = read_file(file);
  const std::unique_ptr<ZSTD_DCtx, FreeStream> stream(ZSTD_createDCtx());
  std::string text, chunk(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  size_t hint = 1;  // 0 at the end of a frame
  for (bool more_output = false; in.pos < in.size || more_output;) {
    ZSTD_outBuffer out{chunk.data(), chunk.size(), 0};
    hint = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(hint)) {
      throw Error(cat(file.string(), ": is no zstd file, or is damaged near byte ", in.pos, ": ",
                      ZSTD_getErrorName(hint), ".\n  Make it again, or restore it from a copy."));
    }
    text.append(chunk.data(), out.pos);
    more_output = hint != 0 && out.pos == out.size;
  }
  if (hint != 0) {
    throw Error(cat(file.string(), ": ends early, after ", packed.size(),
                    " bytes; accepted: whole zstd frames.\n  ", "Make it again, or restore it from a copy."));
  }
  return text;
}

}  // namespace r1
