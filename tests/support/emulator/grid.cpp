#include "support/emulator/grid.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "support/emulator/fiber.h"

extern "C" const char __executable_start, _end;

namespace r1::emulator {

constinit thread_local bool in_device_code = false;

HostSection::HostSection() : before_(in_device_code) { in_device_code = false; }
HostSection::~HostSection() { in_device_code = before_; }

namespace {

enum class State { kReady, kAtBarrier, kInWarp, kDone };

struct AsyncCopy {
  void* shared;
  const void* global;
  size_t bytes, source_bytes;
  const void* pc;
};

struct Thread {
  Fiber fiber;
  Index3 index;
  uint16_t linear = 0;
  State state = State::kDone;
  Site site{nullptr, 0};  // where it waits
  const char* what = "";
  unsigned mask = 0;
  void* payload = nullptr;
  Combine combine = nullptr;
  BarrierKind barrier_kind = BarrierKind::kPlain;
  int value = 0;  // given to a voting barrier, and its result
  std::vector<AsyncCopy> open_copies;
  std::vector<std::vector<AsyncCopy>> copy_groups;
};

struct Grid {
  Options options;
  uint64_t random = 1;
  Index3 grid, block, block_index;
  void (*call)(const void*) = nullptr;
  const void* argument = nullptr;
  size_t argument_bytes = 0;
  std::vector<std::unique_ptr<Thread>> threads;
  unsigned count = 0;  // threads of a block
  Thread* running = nullptr;
  uint16_t warp_epochs[32] = {};
  uint32_t epoch = 0;
  EpochRange range{1, 1};
  bool failed = false;
  std::string failure;
  int64_t flops = 0;
};
Grid& grid() {
  static thread_local Grid g;  // ranks may be threads
  return g;
}

std::string text(Index3 i) {
  return std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z);
}

std::string doing(const Thread& t) {
  const std::string who = "thread " + std::to_string(t.linear);
  switch (t.state) {
    case State::kDone:
      return who + " has returned";
    case State::kAtBarrier:
      return who + " waits at __syncthreads at " + describe(t.site);
    case State::kInWarp:
      return who + " waits at " + std::string(t.what) + " at " + describe(t.site);
    case State::kReady:
      break;
  }
  return who + " runs";
}

unsigned next_random(unsigned below) {
  auto& x = grid().random;  // xorshift64
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return static_cast<unsigned>((x >> 33) % below);
}

// Lanes of t's warp whose thread has not returned.
unsigned live_lanes(unsigned warp) {
  auto& g = grid();
  unsigned lanes = 0;
  for (unsigned lane = 0; lane < 32 && warp * 32 + lane < g.count; ++lane) {
    if (g.threads[warp * 32 + lane]->state != State::kDone) lanes |= 1u << lane;
  }
  return lanes;
}

// Completes the operation that `member` waits for if every live lane of its mask has arrived at it.
bool complete_if_all_arrived(Thread& member) {
  auto& g = grid();
  const unsigned warp = member.linear / 32;
  const unsigned lanes = member.mask & live_lanes(warp);
  void* payloads[32] = {};
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    const Thread& other = *g.threads[warp * 32 + lane];
    if (other.state != State::kInWarp) return false;
    payloads[lane] = other.payload;
  }
  member.combine(payloads, lanes);
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (lanes >> lane & 1) g.threads[warp * 32 + lane]->state = State::kReady;
  }
  return true;
}

void fiber_entry() {
  auto& g = grid();
  in_device_code = true;
  g.call(g.argument);
  in_device_code = false;
  Thread& t = *g.running;
  t.state = State::kDone;
  for (unsigned lane = 0; lane < 32 && t.linear / 32 * 32 + lane < g.count;
       ++lane) {  // others may have waited for this one
    Thread& other = *g.threads[t.linear / 32 * 32 + lane];
    if (other.state == State::kInWarp && complete_if_all_arrived(other)) break;
  }
  t.fiber.leave();
}

void resume(Thread& t) {
  auto& g = grid();
  g.running = &t;
  t.fiber.resume();
  g.running = nullptr;
}

void release_barrier() {
  auto& g = grid();
  const Thread& first = *g.threads[0];
  int sum = 0;
  for (unsigned i = 0; i < g.count; ++i) {
    Thread& t = *g.threads[i];
    if (t.barrier_kind != first.barrier_kind || !(t.site == first.site)) {
      g.failed = true;
      g.failure = "divergent barrier: " + doing(first) + ", " + doing(t);
      return;
    }
    sum += t.value != 0 ? 1 : 0;
  }
  const int n = static_cast<int>(g.count);
  const int result = first.barrier_kind == BarrierKind::kAnd  ? sum == n
                     : first.barrier_kind == BarrierKind::kOr ? sum > 0
                                                              : sum;
  for (unsigned i = 0; i < g.count; ++i) {
    g.threads[i]->value = result;
    g.threads[i]->state = State::kReady;
  }
  ++g.epoch;
  std::memset(g.warp_epochs, 0, sizeof g.warp_epochs);
}

void run_block(size_t dynamic_shared_bytes) {
  auto& g = grid();
  begin_block_memory(dynamic_shared_bytes);
  g.range.block_begin = ++g.epoch;
  std::memset(g.warp_epochs, 0, sizeof g.warp_epochs);
  std::vector<unsigned> order(g.count);
  for (unsigned i = 0; i < g.count; ++i) {
    Thread& t = *g.threads[i];
    t.linear = static_cast<uint16_t>(i);
    t.index = {i % g.block.x, i / g.block.x % g.block.y, i / (g.block.x * g.block.y)};
    t.state = State::kReady;
    t.open_copies.clear();
    t.copy_groups.clear();
    t.fiber.prepare(fiber_entry);
    order[i] = g.options.order == ThreadOrder::kDescending ? g.count - 1 - i : i;
  }
  while (true) {
    if (g.options.order == ThreadOrder::kRandom) {
      for (unsigned i = g.count - 1; i > 0; --i) std::swap(order[i], order[next_random(i + 1)]);
    }
    bool progress = false;
    unsigned done = 0, waiting = 0;
    for (const unsigned i : order) {
      Thread& t = *g.threads[i];
      if (t.state == State::kReady) {
        resume(t);
        progress = true;
        if (g.failed) return;
      }
    }
    for (unsigned i = 0; i < g.count; ++i) {
      done += g.threads[i]->state == State::kDone;
      waiting += g.threads[i]->state == State::kAtBarrier;
    }
    if (done == g.count) break;
    if (waiting == g.count) {
      release_barrier();
      if (g.failed) return;
    } else if (!progress) {
      g.failed = true;
      g.failure = "divergence: the block cannot go on:";
      std::string last;
      int told = 0;
      for (unsigned i = 0; i < g.count && told < 6; ++i) {  // one of each kind of waiting
        const std::string now = doing(*g.threads[i]);
        const std::string kind = now.substr(now.find(' ', 7));
        if (kind != last) {
          g.failure += (told++ ? "; " : " ") + now;
          last = kind;
        }
      }
      return;
    }
  }
  for (unsigned i = 0; i < g.count; ++i) {
    if (!g.threads[i]->open_copies.empty() || !g.threads[i]->copy_groups.empty()) {
      g.failed = true;
      g.failure = "thread " + std::to_string(i) + " returned with a cp.async that it never waited for";
      return;
    }
  }
}

}  // namespace

void set_options(const Options& options) {
  grid().options = options;
  grid().random = options.seed * 0x9E3779B97F4A7C15ull + 1;
}

size_t shared_limit() { return grid().options.shared_bytes; }

void run_grid(Index3 size, Index3 block, size_t dynamic_shared_bytes, void (*call)(const void*),
              const void* argument, size_t argument_bytes) {
  auto& g = grid();
  const uint64_t count = uint64_t{block.x} * block.y * block.z;
  if (count == 0 || count > 1024)
    throw Fault("a block has " + std::to_string(count) + " threads; accepted: 1 to 1024");
  if (size.x == 0 || size.y == 0 || size.z == 0 || size.x > 0x7FFFFFFFu || size.y > 65535 || size.z > 65535) {
    throw Fault("a grid is (" + text(size) + "); accepted: 1 to 2^31 - 1, 65535, 65535");
  }
  if (dynamic_shared_bytes > shared_limit()) {
    throw Fault("dynamic shared memory is " + std::to_string(dynamic_shared_bytes) + " bytes; the card has " +
                std::to_string(shared_limit()));
  }
  while (g.threads.size() < count) g.threads.push_back(std::make_unique<Thread>());
  g.grid = size;
  g.block = block;
  g.count = static_cast<unsigned>(count);
  g.call = call;
  g.argument = argument;
  g.argument_bytes = argument_bytes;
  g.failed = false;
  g.range.launch_begin = g.epoch + 1;
  for (unsigned z = 0; z < size.z; ++z) {
    for (unsigned y = 0; y < size.y; ++y) {
      for (unsigned x = 0; x < size.x; ++x) {
        g.block_index = {x, y, z};
        run_block(dynamic_shared_bytes);
        if (g.failed) throw Fault("block (" + text(g.block_index) + "): " + g.failure);
      }
    }
  }
}

void fail(const std::string& what) {
  auto& g = grid();
  if (g.running == nullptr) throw Fault(what);
  if (!g.failed) g.failure = "thread (" + text(g.running->index) + "): " + what;
  g.failed = true;
  g.running->state = State::kDone;
  while (true)
    g.running->fiber.leave();  // never resumed: the kernel's frames hold nothing that needs a destructor
}

Index3 thread_index() { return grid().running->index; }
Index3 block_index() { return grid().block_index; }
Index3 block_dim() { return grid().block; }
Index3 grid_dim() { return grid().grid; }
EpochRange epoch_range() { return grid().range; }
unsigned lane_index() { return grid().running->linear % 32; }

Accessor accessor() {
  auto& g = grid();
  return {g.running->linear, g.warp_epochs[g.running->linear / 32], g.epoch};
}

bool is_private(uintptr_t address) {
  auto& g = grid();
  return g.running->fiber.owns(address) ||
         address - reinterpret_cast<uintptr_t>(g.argument) < g.argument_bytes;
}

bool is_program_constant(uintptr_t address) {
  return address >= reinterpret_cast<uintptr_t>(&__executable_start) &&
         address < reinterpret_cast<uintptr_t>(&_end);
}

int barrier(BarrierKind kind, int predicate, Site site) {
  const HostSection host;
  Thread& t = *grid().running;
  t.state = State::kAtBarrier;
  t.barrier_kind = kind;
  t.value = predicate;
  t.site = site;
  t.fiber.leave();
  return t.value;
}

void warp_collective(const char* what, unsigned mask, void* payload, Combine combine, Site site) {
  const HostSection host;
  auto& g = grid();
  Thread& t = *g.running;
  const unsigned lane = t.linear % 32, warp = t.linear / 32;
  if ((mask >> lane & 1) == 0)
    fail(std::string(what) + " at " + describe(site) + ": lane " + std::to_string(lane) +
         " is not in its own mask");
  t.state = State::kInWarp;
  t.what = what;
  t.mask = mask;
  t.payload = payload;
  t.combine = combine;
  t.site = site;
  for (unsigned other = 0; other < 32; ++other) {
    if ((mask >> other & 1) == 0 || other == lane || warp * 32 + other >= g.count) continue;
    const Thread& o = *g.threads[warp * 32 + other];
    const bool elsewhere =
        o.state == State::kAtBarrier ||
        (o.state == State::kInWarp && (o.combine != combine || o.mask != mask || !(o.site == site)));
    if (elsewhere) fail(std::string("divergent ") + what + ": " + doing(t) + ", " + doing(o));
  }
  if (!complete_if_all_arrived(t)) t.fiber.leave();
}

void sync_warp(unsigned mask, Site site) {
  const HostSection host;
  const auto nothing = [](void* const(&)[32], unsigned lanes) {
    auto& g = grid();
    const unsigned warp = g.running->linear / 32;
    if (lanes == live_lanes(warp)) ++g.warp_epochs[warp];
  };
  warp_collective("__syncwarp", mask, nullptr, nothing, site);
}

void copy_async(void* shared, const void* global, size_t bytes, size_t source_bytes) {
  const HostSection host;
  const void* pc = __builtin_return_address(0);
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
      (source_bytes > 0 && reinterpret_cast<uintptr_t>(global) % bytes != 0)) {
    fail("cp.async of " + std::to_string(bytes) + " bytes at an unaligned address at " +
         describe_code(image_offset(pc)));
  }
  if (source_bytes > 0) check_access(global, source_bytes, Access::kRead, pc);
  check_access(shared, bytes, Access::kWrite, pc);
  mark_initialized(shared, bytes, false);  // until the wait: a read in between is a fault
  std::memset(shared, 0xFF, bytes);
  grid().running->open_copies.push_back({shared, global, bytes, source_bytes, pc});
}

void copy_async_commit() {
  const HostSection host;
  Thread& t = *grid().running;
  t.copy_groups.push_back(std::move(t.open_copies));
  t.open_copies.clear();
}

void copy_async_wait(int groups_left) {
  const HostSection host;
  Thread& t = *grid().running;
  while (t.copy_groups.size() > static_cast<size_t>(groups_left)) {
    for (const auto& copy : t.copy_groups.front()) {
      check_access(copy.shared, copy.bytes, Access::kWrite, copy.pc);
      std::memset(copy.shared, 0, copy.bytes);
      std::memcpy(copy.shared, copy.global, copy.source_bytes);
    }
    t.copy_groups.erase(t.copy_groups.begin());
  }
}

int64_t matrix_flops() { return grid().flops; }
void reset_matrix_flops() { grid().flops = 0; }
void count_matrix_flops(int64_t flops) { grid().flops += flops; }

}  // namespace r1::emulator
