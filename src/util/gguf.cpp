#include "r1/util/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

#include "gguf_value_type.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read in place, as little-endian");

struct TypeRow {
  GgufType type;
  const char* name;
  int64_t elements, bytes;
};
constexpr std::array<TypeRow, 18> kTypes = {{{GgufType::kF32, "F32", 1, 4},
                                             {GgufType::kF16, "F16", 1, 2},
                                             {GgufType::kQ4_0, "Q4_0", 32, 18},
                                             {GgufType::kQ4_1, "Q4_1", 32, 20},
                                             {GgufType::kQ5_0, "Q5_0", 32, 22},
                                             {GgufType::kQ5_1, "Q5_1", 32, 24},
                                             {GgufType::kQ8_0, "Q8_0", 32, 34},
                                             {GgufType::kQ2_K, "Q2_K", 256, 84},
                                             {GgufType::kQ3_K, "Q3_K", 256, 110},
                                             {GgufType::kQ4_K, "Q4_K", 256, 144},
                                             {GgufType::kQ5_K, "Q5_K", 256, 176},
                                             {GgufType::kQ6_K, "Q6_K", 256, 210},
                                             {GgufType::kI8, "I8", 1, 1},
                                             {GgufType::kI16, "I16", 1, 2},
                                             {GgufType::kI32, "I32", 1, 4},
                                             {GgufType::kI64, "I64", 1, 8},
                                             {GgufType::kF64, "F64", 1, 8},
                                             {GgufType::kBF16, "BF16", 1, 2}}};

const TypeRow* find_type(uint32_t number) {
  for (const auto& row : kTypes)
    if (static_cast<uint32_t>(row.type) == number) return &row;
  return nullptr;
}

const TypeRow& row_of(GgufType type) {
  if (const TypeRow* row = find_type(static_cast<uint32_t>(type))) return *row;
  throw Error(cat("there is no GGUF tensor type number ", static_cast<uint32_t>(type)));
}

constexpr int kMaxArrayDepth = 4;
constexpr size_t kMaxDims = 4;  // GGML_MAX_DIMS
constexpr uint64_t kMaxNameBytes =
    1024;  // llama.cpp refuses tensor names of 64 or more, keys of 2^16 or more
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxArrayElements = uint64_t{1} << 24;

/// Fewest bytes that a value of this type takes in the file.
uint64_t least_bytes(GgufValueType type) {
  static constexpr std::array<uint64_t, kNumGgufValueTypes> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return kBytes[static_cast<size_t>(type)];
}

/// Reads the header from front to back; every read is checked against what is left.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string path) : bytes_(bytes), path_(std::move(path)) {}

  /// What is being read, for messages: "metadata key 'general.name'".
  std::string subject = "the header";

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(cat(path_, ": ", subject, " ", what, " (at byte ", position_, " of ", bytes_.size(),
                    ").\n  The file is truncated or damaged; write or download it again."));
  }

  template <typename T>
  T number() {
    if (left() < sizeof(T)) fail(cat("needs ", sizeof(T), " bytes, but ", left(), " are left"));
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string string(uint64_t limit, const char* what) {
    const auto length = number<uint64_t>();
    if (length > left()) fail(cat("claims ", what, " of ", length, " bytes, but ", left(), " are left"));
    if (length > limit) fail(cat("claims ", what, " of ", length, " bytes; the limit is ", limit));
    std::string text(reinterpret_cast<const char*>(bytes_.data() + position_), length);
    position_ += length;
    return text;
  }

  GgufValueType value_type() {
    const auto number_of_type = number<uint32_t>();
    if (number_of_type >= kNumGgufValueTypes)
      fail(cat("has value type ", number_of_type, "; accepted: 0 to ", kNumGgufValueTypes - 1));
    return static_cast<GgufValueType>(number_of_type);
  }

  GgufValue value(GgufValueType type, int depth) {
    GgufValue out;
    out.type = type;
    switch (type) {
      case GgufValueType::kUint8:
        out.value = uint64_t{number<uint8_t>()};
        break;
      case GgufValueType::kInt8:
        out.value = int64_t{number<int8_t>()};
        break;
      case GgufValueType::kUint16:
        out.value = uint64_t{number<uint16_t>()};
        break;
      case GgufValueType::kInt16:
        out.value = int64_t{number<int16_t>()};
        break;
      case GgufValueType::kUint32:
        out.value = uint64_t{number<uint32_t>()};
        break;
      case GgufValueType::kInt32:
        out.value = int64_t{number<int32_t>()};
        break;
      case GgufValueType::kFloat32:
        out.value = double{number<float>()};
        break;
      case GgufValueType::kBool:
        out.value = number<uint8_t>() != 0;
        break;
      case GgufValueType::kString:
        out.value = string(UINT64_MAX, "a string");
        break;
      case GgufValueType::kUint64:
        out.value = number<uint64_t>();
        break;
      case GgufValueType::kInt64:
        out.value = number<int64_t>();
        break;
      case GgufValueType::kFloat64:
        out.value = number<double>();
        break;
      case GgufValueType::kArray: {
        if (depth >= kMaxArrayDepth) fail(cat("nests arrays deeper than ", kMaxArrayDepth));
        out.element_type = value_type();
        const auto count = number<uint64_t>();
        if (count > left() / least_bytes(out.element_type))
          fail(cat("claims an array of ", count, " ", gguf_value_type_name(out.element_type), " values, but ",
                   left(), " bytes are left"));
        // A value in memory takes up to 64 times its bytes in the file; real vocabularies stay below 2^20
        // entries.
        if (count > kMaxArrayElements) fail(cat("claims an array of ", count, " values; the limit is 2^24"));
        std::vector<GgufValue> elements;
        elements.reserve(count);
        for (uint64_t i = 0; i < count; ++i) elements.push_back(value(out.element_type, depth + 1));
        out.value = std::move(elements);
        break;
      }
    }
    return out;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string path_;
  uint64_t position_ = 0;
};

struct TensorClaim {
  GgufTensor tensor;
  uint64_t offset = 0;
};

TensorClaim read_tensor_claim(Cursor& in) {
  TensorClaim claim;
  in.subject = "the tensor list";
  claim.tensor.name = in.string(kMaxNameBytes, "a tensor name");
  in.subject = cat("tensor '", claim.tensor.name, "'");
  const auto num_dims = in.number<uint32_t>();
  if (num_dims > kMaxDims) in.fail(cat("claims ", num_dims, " dimensions; accepted: 0 to ", kMaxDims));
  uint64_t elements = 1;
  for (uint32_t i = 0; i < num_dims; ++i) {
    const auto size = in.number<uint64_t>();
    if (size == 0) in.fail("has a dimension of size 0");
    // Blocks take at most 8 bytes an element, so bytes stay below 2^63 as well.
    if (size > uint64_t{1} << 59 || __builtin_mul_overflow(elements, size, &elements) ||
        elements > uint64_t{1} << 59)
      in.fail("claims more than 2^59 elements");
    claim.tensor.dims.push_back(static_cast<int64_t>(size));
  }
  const auto type_number = in.number<uint32_t>();
  const TypeRow* row = find_type(type_number);
  if (row == nullptr) {
    std::vector<std::string> names;
    for (const auto& r : kTypes) names.push_back(r.name);
    in.fail(cat("has type number ", type_number, "; known: ", join(names, ", ")));
  }
  claim.tensor.type = row->type;
  if (num_dims > 0 && claim.tensor.dims[0] % row->elements != 0)
    in.fail(cat("is ", row->name, " with rows of ", claim.tensor.dims[0], "; accepted: multiples of ",
                row->elements));
  if (num_dims == 0 && row->elements != 1) in.fail(cat("is ", row->name, " without dimensions"));
  claim.offset = in.number<uint64_t>();
  return claim;
}

}  // namespace

const char* gguf_type_name(GgufType type) { return row_of(type).name; }
int64_t gguf_block_elements(GgufType type) { return row_of(type).elements; }
int64_t gguf_block_bytes(GgufType type) { return row_of(type).bytes; }

int64_t GgufTensor::num_elements() const {
  int64_t elements = 1;
  for (const int64_t size : dims) elements *= size;
  return elements;
}

uint64_t GgufTensor::num_bytes() const {
  const TypeRow& row = row_of(type);
  return static_cast<uint64_t>(num_elements() / row.elements) * static_cast<uint64_t>(row.bytes);
}

GgufFile::GgufFile(const std::filesystem::path& file) : file_(file) {
  const auto bytes = file_.bytes();
  Cursor in(bytes, file.string());
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0)
    throw Error(
        cat(file.string(), ": does not begin with 'GGUF'.\n  The file is not a GGUF file, or is damaged."));
  in.number<uint32_t>();
  version_ = in.number<uint32_t>();
  if (version_ != 2 && version_ != 3)
    throw Error(cat(file.string(), ": GGUF version ", version_,
                    "; accepted: 2 and 3, little-endian.\n  Convert the file with a current llama.cpp."));
  const auto num_tensors = in.number<uint64_t>();
  const auto num_keys = in.number<uint64_t>();
  // A key takes at least 13 bytes (length, type, one byte), a tensor 24.
  if (num_keys > in.left() / 13)
    in.fail(cat("claims ", num_keys, " metadata keys, but ", in.left(), " bytes are left"));
  if (num_tensors > in.left() / 24)
    in.fail(cat("claims ", num_tensors, " tensors, but ", in.left(), " bytes are left"));

  for (uint64_t i = 0; i < num_keys; ++i) {
    in.subject = cat("metadata key ", i, " of ", num_keys);
    std::string key = in.string(kMaxKeyBytes, "a name");
    in.subject = cat("metadata key '", key, "'");
    const auto type = in.value_type();
    if (!metadata_.emplace(key, in.value(type, 0)).second) in.fail("is there twice");
  }
  int64_t alignment = 32;
  if (has("general.alignment")) {
    alignment = get_int("general.alignment");
    if (alignment < 1 || alignment > 1 << 20 || !std::has_single_bit(static_cast<uint64_t>(alignment)))
      throw Error(cat(file.string(), ": general.alignment is ", alignment,
                      "; accepted: a power of two from 1 to 2^20.\n  The file is damaged."));
  }

  std::vector<TensorClaim> claims;
  claims.reserve(num_tensors);
  for (uint64_t i = 0; i < num_tensors; ++i) claims.push_back(read_tensor_claim(in));
  in.subject = "the data section";
  const uint64_t mask = static_cast<uint64_t>(alignment) - 1;
  const uint64_t data_begin = (in.position() + mask) & ~mask;
  const uint64_t data_bytes = bytes.size() > data_begin ? bytes.size() - data_begin : 0;
  std::vector<std::pair<uint64_t, size_t>> by_offset;
  for (auto& claim : claims) {
    in.subject = cat("tensor '", claim.tensor.name, "'");
    const uint64_t needed = claim.tensor.num_bytes();
    if ((claim.offset & mask) != 0)
      in.fail(cat("begins at offset ", claim.offset, ", not a multiple of ", alignment));
    if (claim.offset > data_bytes || needed > data_bytes - claim.offset)
      in.fail(cat("claims ", needed, " bytes at offset ", claim.offset, ", but the file has ", data_bytes,
                  " bytes of data"));
    claim.tensor.bytes = bytes.subspan(data_begin + claim.offset, needed);
    if (!index_.emplace(claim.tensor.name, tensors_.size()).second) in.fail("is there twice");
    by_offset.emplace_back(claim.offset, tensors_.size());
    tensors_.push_back(std::move(claim.tensor));
  }
  std::sort(by_offset.begin(), by_offset.end());
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const auto& before = tensors_[by_offset[i - 1].second];
    if (by_offset[i - 1].first + before.num_bytes() > by_offset[i].first) {
      in.subject = cat("tensor '", before.name, "'");
      in.fail(cat("overlaps tensor '", tensors_[by_offset[i].second].name, "'"));
    }
  }
}

const GgufTensor* GgufFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace r1
