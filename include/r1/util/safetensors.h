#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "r1/util/file.h"

namespace r1 {

/// Element types of the safetensors format.
enum class TensorDtype {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E5M2,
  kF8E4M3,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool
};

const char* tensor_dtype_name(TensorDtype dtype);  ///< as the file says it: "F32", "BOOL", "F8_E4M3"
int64_t tensor_dtype_bytes(TensorDtype dtype);     ///< bytes of one element

/// Name, type and shape of a tensor. An empty shape is a scalar.
struct TensorSpec {
  std::string name;
  TensorDtype dtype = TensorDtype::kF32;
  std::vector<int64_t> shape;

  /// Product of the shape times the element's bytes. Throws Error when that exceeds 2^63 - 1 or a size is
  /// negative.
  uint64_t num_bytes() const;
};

/// A tensor in row-major order, little-endian, in memory that somebody else owns.
struct TensorView : TensorSpec {
  std::span<const std::byte> bytes;
};

/// A memory-mapped .safetensors file.
///
/// Format: 8 bytes little-endian header length, a JSON object {name: {dtype, shape, data_offsets: [begin,
/// end]},
/// "__metadata__": {string: string}}, then the data. Everything the header claims is checked on opening: its
/// length, every dtype and shape against its byte range, ranges inside the file, without overlap or gap, no
/// name twice. Throws Error naming path, tensor and figures.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return file_.path(); }
  /// Sorted by name; the spans live as long as this object.
  const std::vector<TensorView>& tensors() const& { return tensors_; }
  const std::vector<TensorView>& tensors() && =
      delete;  ///< a loop over a temporary's tensors would read freed memory
  const TensorView* find(const std::string& name) const;  ///< nullptr when absent
  /// Throws Error naming the path and the nearest name when absent.
  const TensorView& at(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Writes a .safetensors file tensor by tensor, so that one tensor at a time is in memory.
///
/// The order in the file is by element size, largest first (so every tensor is aligned), then by name; the
/// header is padded with spaces to 8 bytes. The same tensors give the same bytes. The file appears complete,
/// after fsync, at close(); a writer destroyed before that leaves nothing. Throws Error naming path and
/// reason: two tensors of one name, no space left, a wrong number of bytes.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& file, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  const std::vector<TensorSpec>& order() const { return tensors_; }  ///< in which write() expects them
  void write(std::span<const std::byte> bytes);                      ///< the whole next tensor
  void close();

 private:
  struct Output;
  std::unique_ptr<Output> output_;
  std::vector<TensorSpec> tensors_;
  size_t next_ = 0;
};

/// Writes all tensors from their views with a SafetensorsWriter.
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace r1
