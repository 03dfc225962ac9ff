#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "r1/util/file.h"

namespace r1 {

/// Tensor types by their number in the file. The names are llama.cpp's.
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
};

const char* gguf_type_name(GgufType type);
int64_t gguf_block_elements(GgufType type);  ///< elements of one block: 1, 32 or 256
int64_t gguf_block_bytes(GgufType type);     ///< bytes of one block

/// Types of metadata values by their number in the file.
enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// One metadata value. Integers of every width are held as int64 or uint64, floats as double.
struct GgufValue {
  GgufValueType type = GgufValueType::kUint32;
  GgufValueType element_type = GgufValueType::kUint32;  ///< of an array
  std::variant<uint64_t, int64_t, double, bool, std::string, std::vector<GgufValue>> value;

  static GgufValue u32(uint32_t v) { return {GgufValueType::kUint32, {}, uint64_t{v}}; }
  static GgufValue f32(float v) { return {GgufValueType::kFloat32, {}, double{v}}; }
  static GgufValue boolean(bool v) { return {GgufValueType::kBool, {}, v}; }
  static GgufValue string(std::string v) { return {GgufValueType::kString, {}, std::move(v)}; }
  static GgufValue strings(const std::vector<std::string>& v);
  static GgufValue i32s(const std::vector<int32_t>& v);
  static GgufValue f32s(const std::vector<float>& v);
};

/// A tensor of a GGUF file. `dims` are in the file's order: dims[0] is the fastest, the length of a row.
struct GgufTensor {
  std::string name;
  GgufType type = GgufType::kF32;
  std::vector<int64_t> dims;
  std::span<const std::byte> bytes;  ///< empty in a description for GgufWriter

  int64_t num_elements() const;  ///< product of dims; 1 for none
  uint64_t num_bytes() const;    ///< blocks of all rows
};

/// A memory-mapped GGUF file, version 2 or 3, little-endian.
///
/// Everything the header claims is checked on opening: counts, string and array lengths against the bytes
/// that are left, types, dims against the block size, offsets against alignment and file size, overlaps, no
/// name twice. Throws Error naming path, key or tensor, and figures.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return file_.path(); }
  uint32_t version() const { return version_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  bool has(const std::string& key) const { return metadata_.count(key) != 0; }

  /// Values by key. Throws Error naming path and key when the key is absent or of another kind; the forms
  /// with a default return it when the key is absent. Any integer type is accepted for int, any number for
  /// number.
  int64_t get_int(const std::string& key) const;
  int64_t get_int(const std::string& key, int64_t fallback) const;
  double get_number(const std::string& key) const;
  double get_number(const std::string& key, double fallback) const;
  bool get_bool(const std::string& key, bool fallback) const;
  const std::string& get_string(const std::string& key) const;
  std::string get_string(const std::string& key, const std::string& fallback) const;
  std::vector<std::string> get_strings(const std::string& key) const;
  std::vector<int64_t> get_ints(const std::string& key) const;
  std::vector<double> get_numbers(const std::string& key) const;

  const std::vector<GgufTensor>& tensors() const& { return tensors_; }  ///< in the file's order
  const std::vector<GgufTensor>& tensors() && =
      delete;  ///< a loop over a temporary's tensors would read freed memory
  const GgufTensor* find(const std::string& name) const;  ///< nullptr when absent

 private:
  const GgufValue& at(const std::string& key) const;

  MappedFile file_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t> index_;
};

/// Writes a GGUF v3 file tensor by tensor, so that one tensor at a time is in memory. Data is aligned to 32
/// bytes. The file appears complete, after fsync, at close(); a writer destroyed before that leaves nothing.
/// Throws Error naming path and reason: two tensors or keys of one name, no space left, a wrong number of
/// bytes.
class GgufWriter {
 public:
  GgufWriter(const std::filesystem::path& file,
             const std::vector<std::pair<std::string, GgufValue>>& metadata, std::vector<GgufTensor> tensors);
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  void write(std::span<const std::byte> bytes);  ///< the whole next tensor, in the order given
  void close();

 private:
  struct Output;
  std::unique_ptr<Output> output_;
  std::vector<GgufTensor> tensors_;
  size_t next_ = 0;
};

}  // namespace r1
