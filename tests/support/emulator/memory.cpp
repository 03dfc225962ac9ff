#include "support/emulator/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "support/emulator/fault.h"
#include "support/emulator/grid.h"

namespace r1::emulator {
namespace {

constexpr size_t kGuardBytes = 256;
constexpr size_t kRedZone = 64;  // between two variables of shared memory

struct Record {
  uint32_t epoch = 0;  // 0: none
  uint16_t thread = 0;
  uint16_t warp_epoch = 0;
  uint32_t code = 0;
};

// Of one granule (1, 2 or 4 bytes). Two reads by different threads are enough to convict any later writer but
// one that is both of them.
struct Cell {
  Record write, read, other_read;
  bool valid = false;  // inside a variable or buffer
  bool initialized = false;
  bool atomic_write = false;
};

struct Region {
  uintptr_t begin = 0;
  size_t bytes = 0;
  size_t granule = 1;
  bool shared = false;
  std::string name;
  Cell* cells = nullptr;
  size_t cell_bytes = 0;

  bool holds(uintptr_t address) const { return address - begin < bytes; }
};

Cell* map_cells(size_t count, size_t* bytes) {
  *bytes = std::max<size_t>(1, count) * sizeof(Cell);
  void* memory =
      mmap(nullptr, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<Cell*>(memory);  // zero pages are Cells without records
}

struct SharedVariable {
  const void* tag;
  size_t offset, bytes;
  std::string name;
};

struct Memory {
  std::vector<std::unique_ptr<Region>> regions;
  Region* latest = nullptr;
  Region arena;  // shared memory
  size_t arena_used = 0;
  std::vector<SharedVariable> variables;
  size_t dynamic_bytes = 0;
  Traffic traffic;

  ~Memory() {
    if (arena.begin == 0) return;
    munmap(arena.cells, arena.cell_bytes);
    std::free(reinterpret_cast<void*>(arena.begin));
  }
};
Memory& memory() {
  static thread_local Memory m;
  return m;
}

Region* find(uintptr_t address) {
  auto& m = memory();
  if (m.latest != nullptr && m.latest->holds(address)) return m.latest;
  if (m.arena.holds(address)) return &m.arena;
  for (auto& region : m.regions) {
    if (region->holds(address)) return m.latest = region.get();
  }
  return nullptr;
}

const char* verb(Access access) {
  return access == Access::kRead ? "read" : access == Access::kWrite ? "write" : "atomic";
}

std::string place(uintptr_t address) {
  auto& m = memory();
  if (m.arena.holds(address)) {
    const size_t offset = address - m.arena.begin;
    const SharedVariable* nearest = nullptr;
    for (const auto& v : m.variables) {
      if (offset >= v.offset && offset < v.offset + v.bytes) {
        return "shared memory `" + v.name + "` + " + std::to_string(offset - v.offset) + " bytes";
      }
      if (v.offset <= offset) nearest = &v;
    }
    if (nearest == nullptr) return "shared memory, before its first variable";
    return "shared memory, " + std::to_string(offset - nearest->offset - nearest->bytes) +
           " bytes past the end of `" + nearest->name + "` of " + std::to_string(nearest->bytes) + " bytes";
  }
  const Region* nearest = nullptr;
  size_t distance = SIZE_MAX;
  for (const auto& region : m.regions) {
    if (region->holds(address)) {
      return "buffer `" + region->name + "` + " + std::to_string(address - region->begin) + " bytes";
    }
    const size_t d =
        address < region->begin ? region->begin - address : address - region->begin - region->bytes;
    if (d < distance) {
      distance = d;
      nearest = region.get();
    }
  }
  if (nearest == nullptr || distance > (size_t{1} << 40)) return "an address of no registered buffer";
  const bool before = address < nearest->begin;
  return std::to_string(distance) + " bytes " + (before ? "before the start" : "past the end") +
         " of buffer `" + nearest->name + "` of " + std::to_string(nearest->bytes) + " bytes";
}

std::string who(const Record& r) {
  const auto range = epoch_range();
  const std::string thread = "thread " + std::to_string(r.thread);
  return r.epoch >= range.block_begin ? thread : thread + " of another block";
}

// Nothing orders the earlier access before the one of `now`.
bool unordered(const Record& earlier, const Accessor& now, const EpochRange& range) {
  if (earlier.epoch < range.launch_begin) return false;
  if (earlier.epoch < range.block_begin) return true;  // another block of this launch
  if (earlier.epoch != now.epoch || earlier.thread == now.thread) return false;
  return earlier.thread / 32 != now.thread / 32 || earlier.warp_epoch == now.warp_epoch;
}

[[noreturn]] void report_race(uintptr_t address, Access access, const void* pc, const Record& earlier,
                              const char* did) {
  fail(std::string("race on ") + place(address) + ": " + verb(access) + " at " +
       describe_code(image_offset(pc)) + "; " + did + " by " + who(earlier) + " at " +
       describe_code(earlier.code) + "; no barrier orders the two");
}

void check_cell(Cell& cell, uintptr_t address, Access access, const void* pc, const Accessor& now,
                const EpochRange& range) {
  if (!cell.valid) {
    fail(std::string(verb(access)) + " out of bounds at " + describe_code(image_offset(pc)) + ": " +
         place(address));
  }
  const Record record{now.epoch, now.thread, now.warp_epoch, image_offset(pc)};
  const bool both_atomic = access == Access::kAtomic && cell.atomic_write;
  if (!both_atomic && unordered(cell.write, now, range)) {
    report_race(address, access, pc, cell.write, cell.atomic_write ? "atomic" : "write");
  }
  if (access != Access::kWrite && !cell.initialized) {
    fail(std::string(verb(access)) + " of memory that was never written at " +
         describe_code(image_offset(pc)) + ": " + place(address));
  }
  if (access == Access::kRead) {
    if (cell.read.epoch == now.epoch && cell.read.thread != now.thread) {
      // Keep the reader of this interval; the second place is for one of another warp, if there is one.
      if (cell.other_read.epoch != now.epoch || cell.other_read.thread / 32 == cell.read.thread / 32)
        cell.other_read = record;
    } else {
      if (cell.read.epoch >= range.launch_begin && cell.read.epoch != now.epoch) cell.other_read = cell.read;
      cell.read = record;
    }
    return;
  }
  for (const Record& read : {cell.read, cell.other_read}) {
    if (unordered(read, now, range)) report_race(address, access, pc, read, "read");
  }
  cell.write = record;
  cell.atomic_write = access == Access::kAtomic;
  cell.initialized = true;
}

}  // namespace

void check_access(const void* pointer, size_t bytes, Access access, const void* pc) {
  const HostSection host;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (is_private(address)) return;
  Region* region = find(address);
  if (region == nullptr || address + bytes > region->begin + region->bytes) {
    if (region == nullptr && access == Access::kRead && is_program_constant(address)) return;
    const uintptr_t wrong = region == nullptr ? address : region->begin + region->bytes;
    fail(std::string(verb(access)) + " of " + std::to_string(bytes) + " bytes out of bounds at " +
         describe_code(image_offset(pc)) + ": " + place(wrong));
  }
  auto& counted = memory().traffic;
  if (!region->shared) {
    if (access == Access::kRead) counted.read_bytes += static_cast<int64_t>(bytes);
    if (access == Access::kWrite) counted.written_bytes += static_cast<int64_t>(bytes);
    if (access == Access::kAtomic) ++counted.atomics;
  }
  const Accessor now = accessor();
  const EpochRange range = epoch_range();
  const size_t first = (address - region->begin) / region->granule;
  const size_t last = (address + bytes - 1 - region->begin) / region->granule;
  for (size_t c = first; c <= last; ++c) {
    check_cell(region->cells[c], region->begin + c * region->granule, access, pc, now, range);
  }
}

static void check_alignment(const void* p, size_t bytes, const char* what, const Site& site) {
  if (reinterpret_cast<uintptr_t>(p) % bytes == 0) return;
  const HostSection host;
  fail("unaligned " + std::string(what) + " of " + std::to_string(bytes) + " bytes at " + describe(site));
}

void read_vector(const void* from, void* to, size_t bytes, const Site& site) {
  check_alignment(from, bytes, "load", site);
  check_access(from, bytes, Access::kRead, __builtin_return_address(0));
  std::memcpy(to, from, bytes);
}

void write_vector(void* to, const void* from, size_t bytes, const Site& site) {
  check_alignment(to, bytes, "store", site);
  check_access(to, bytes, Access::kWrite, __builtin_return_address(0));
  std::memcpy(to, from, bytes);
}

void begin_atomic(void* address, size_t bytes, const Site& site) {
  check_alignment(address, bytes, "atomic", site);
  check_access(address, bytes, Access::kAtomic, __builtin_return_address(0));
}

void copy_unchecked(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

void mark_initialized(const void* pointer, size_t bytes, bool initialized) {
  if (bytes == 0) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  Region* region = find(address);
  if (region == nullptr) throw Fault("mark_initialized: " + place(address));
  for (size_t c = (address - region->begin) / region->granule;
       c <= (address + bytes - 1 - region->begin) / region->granule; ++c) {
    region->cells[c].initialized = initialized;
  }
}

int64_t first_uninitialized(const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const Region* region = find(address);
  if (region == nullptr) return bytes == 0 ? -1 : 0;
  for (size_t offset = 0; offset < bytes; offset += region->granule) {
    if (!region->cells[(address + offset - region->begin) / region->granule].initialized)
      return static_cast<int64_t>(offset);
  }
  return -1;
}

void adopt(void* memory_, size_t bytes, size_t element_bytes, const std::string& name) {
  auto region = std::make_unique<Region>();
  region->begin = reinterpret_cast<uintptr_t>(memory_);
  region->bytes = bytes;
  region->granule = element_bytes >= 4 ? 4 : element_bytes;
  region->name = name;
  const size_t cells = (bytes + region->granule - 1) / region->granule;
  region->cells = map_cells(cells, &region->cell_bytes);
  for (size_t c = 0; c < cells; ++c) region->cells[c].valid = true;
  memory().regions.push_back(std::move(region));
}

// False: nothing is registered there.
static bool drop_region(void* pointer) {
  auto& regions = memory().regions;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const auto it =
      std::find_if(regions.begin(), regions.end(), [&](const auto& r) { return r->begin == address; });
  if (it == regions.end()) return false;
  munmap((*it)->cells, (*it)->cell_bytes);
  memory().latest = nullptr;
  regions.erase(it);
  return true;
}

void forget(void* pointer) { drop_region(pointer); }

void* allocate(size_t bytes, size_t element_bytes, const std::string& name) {
  auto* raw = static_cast<char*>(std::aligned_alloc(256, (bytes + 2 * kGuardBytes + 255) / 256 * 256));
  if (raw == nullptr) throw std::bad_alloc();
  std::memset(raw, 0xFF, bytes + 2 * kGuardBytes);  // NaN, and -1 as an index
  adopt(raw + kGuardBytes, bytes, element_bytes, name);
  return raw + kGuardBytes;
}

void release(void* pointer) {
  if (drop_region(pointer)) std::free(static_cast<char*>(pointer) - kGuardBytes);
}

Traffic traffic() { return memory().traffic; }
void reset_traffic() { memory().traffic = {}; }

namespace {

void add_variable(const void* tag, size_t offset, size_t bytes, const char* name) {
  auto& m = memory();
  m.variables.push_back({tag, offset, bytes, name});
  for (size_t c = offset / m.arena.granule; c < (offset + bytes + m.arena.granule - 1) / m.arena.granule;
       ++c) {
    m.arena.cells[c].valid = true;
  }
  m.arena_used = (offset + bytes + kRedZone + 127) / 128 * 128;
  // The padding of the emulator does not count against the hardware's limit.
  size_t total = 0;
  for (const auto& v : m.variables) total += (v.bytes + 15) / 16 * 16;
  if (total > shared_limit()) {
    throw Fault("shared memory of a block is " + std::to_string(total) + " bytes; the card has " +
                std::to_string(shared_limit()));
  }
}

}  // namespace

void begin_block_memory(size_t dynamic_bytes) {
  auto& m = memory();
  constexpr size_t kArenaBytes = 512 * 1024;
  if (m.arena.begin == 0) {
    m.arena.begin = reinterpret_cast<uintptr_t>(std::aligned_alloc(1024, kArenaBytes));
    m.arena.bytes = kArenaBytes;
    m.arena.granule = 2;
    m.arena.shared = true;
    m.arena.name = "shared memory";
    m.arena.cells = map_cells(kArenaBytes / 2, &m.arena.cell_bytes);
    m.arena_used = kArenaBytes;
  }
  std::memset(reinterpret_cast<void*>(m.arena.begin), 0xFF, m.arena_used);
  std::memset(static_cast<void*>(m.arena.cells), 0, m.arena_used / m.arena.granule * sizeof(Cell));
  m.arena_used = 0;
  m.variables.clear();
  m.dynamic_bytes = dynamic_bytes;
  if (dynamic_bytes > 0) add_variable(nullptr, 0, dynamic_bytes, "dynamic shared memory");
}

void* dynamic_shared_memory() { return reinterpret_cast<void*>(memory().arena.begin); }

void* shared_variable_memory(const void* tag, size_t bytes, const char* name) {
  const HostSection host;
  auto& m = memory();
  for (const auto& v : m.variables) {
    if (v.tag == tag) return reinterpret_cast<void*>(m.arena.begin + v.offset);
  }
  const size_t offset = m.arena_used;
  if (offset + bytes + 2 * kRedZone > m.arena.bytes) fail("static shared memory does not fit");
  add_variable(tag, offset, bytes, name);
  return reinterpret_cast<void*>(m.arena.begin + offset);
}

}  // namespace r1::emulator
