#include "support/emulated_device.h"

#include <cstring>
#include <exception>
#include <stdexcept>
#include <vector>

#include "device.h"
#include "device_call.h"
#include "r1/ops/device_decode.h"
#include "r1/ops/devices.h"
#include "support/emulator/memory.h"

namespace r1::test {
namespace {

thread_local int64_t open_devices = 0;
thread_local int capability = 80;
thread_local std::map<std::string, int64_t> counted;

}  // namespace

EmulatedDevice::EmulatedDevice(int compute_capability) {
  ++open_devices;
  capability = compute_capability;
  counted.clear();
}
EmulatedDevice::~EmulatedDevice() { --open_devices; }
const std::map<std::string, int64_t>& EmulatedDevice::calls() const { return counted; }

}  // namespace r1::test

namespace r1::ops::device {

bool on_device(const torch::Tensor& x) {
  return test::open_devices > 0 && x.is_cpu() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat);
}

int compute_capability(const torch::Tensor&) { return test::capability; }

// Tensors handed out, each a region of the emulator's memory until the call ends.
struct Call::State {
  struct Lent {
    char* data;
    size_t bytes;
    bool written_whole;
    at::ScalarType dtype;
  };
  std::vector<Lent> lent;

  ~State() {
    for (const auto& l : lent) emulator::forget(l.data);
  }
};

Call::Call(const char* name, const torch::Tensor& place)
    : name_(name), device_(place.device()), state_(std::make_unique<State>()) {
  ++test::counted[name];
}

Call::~Call() noexcept(false) {
  if (std::uncaught_exceptions() > 0) return;
  for (const auto& l : state_->lent) {
    const int64_t at = l.written_whole ? emulator::first_uninitialized(l.data, l.bytes) : -1;
    if (at < 0) continue;
    throw std::runtime_error(std::string(name_) + ": byte " + std::to_string(at) + " of a result of " + std::to_string(l.bytes) +
                             " bytes (" + c10::toString(l.dtype) + ") was never written");
  }
}

cudaStream_t Call::stream() const { return nullptr; }

void* Call::open(const torch::Tensor& t, Use use) const {
  auto* data = static_cast<char*>(use == Use::kRead ? const_cast<void*>(t.const_data_ptr()) : t.mutable_data_ptr());
  const auto bytes = static_cast<size_t>(t.nbytes());
  if (bytes == 0) return data;
  const bool initialized = use == Use::kRead || use == Use::kUpdate;
  for (auto& l : state_->lent) {
    if (l.data + l.bytes <= data || data + bytes <= l.data) continue;
    // In place: one tensor under two names. What is read was there before.
    if (l.data != data || l.bytes != bytes) throw std::runtime_error(std::string(name_) + ": two tensors overlap");
    if (initialized) emulator::mark_initialized(data, bytes, true);
    l.written_whole = l.written_whole || use == Use::kWrite;
    return data;
  }
  emulator::adopt(data, bytes, t.element_size(), name_);
  emulator::mark_initialized(data, bytes, initialized);
  state_->lent.push_back({data, bytes, use == Use::kWrite, t.scalar_type()});
  return data;
}

}  // namespace r1::ops::device

namespace r1::ops {

// Nothing is recorded: the launches run again. What they read from the host's tensors they read again too, so that a test
// cannot tell; that is left to a GPU.
struct LaunchGraph::State {
  std::function<void()> launches;
};
LaunchGraph::LaunchGraph() = default;
LaunchGraph::~LaunchGraph() = default;
void LaunchGraph::record(at::Device, const std::function<void()>& launches, const LaunchGraph*) {
  ++test::counted["record_graph"];
  launches();
  state_ = std::make_unique<State>(State{launches});
}
void LaunchGraph::replay() { state_->launches(); }

// Arrives when it is waited for, not before.
struct Fetch::State {
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
};
Fetch::Fetch() : state_(std::make_unique<State>()) {}
Fetch::~Fetch() = default;
void Fetch::start(const std::vector<std::pair<at::Tensor, at::Tensor>>& copies) {
  for (const auto& [from, to] : copies) {
    state_->copies.emplace_back(from.clone(), to);
    std::memset(to.mutable_data_ptr(), 0x80, to.nbytes());
  }
}
void Fetch::wait() {
  for (const auto& [from, to] : state_->copies) at::Tensor(to).copy_(from);
  state_->copies.clear();
}
at::Tensor host_buffer(at::IntArrayRef sizes, at::ScalarType dtype, at::Device) { return torch::zeros(sizes, dtype); }

std::vector<Gpu> gpus() { return {}; }
std::string why_no_gpu() { return "the emulator is none"; }

}  // namespace r1::ops
