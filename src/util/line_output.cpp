#include "r1/util/line_output.h"

#include "atomic_output.h"

namespace r1 {

namespace {
constexpr size_t kBufferBytes = size_t{1} << 20;
}

LineOutput::LineOutput(const std::filesystem::path& file) : out_(std::make_unique<AtomicOutput>(file)) {}
LineOutput::~LineOutput() = default;

void LineOutput::write(std::string_view line) {
  buffer_.append(line);
  buffer_ += '\n';
  if (buffer_.size() >= kBufferBytes) flush();
}

void LineOutput::commit() {
  flush();
  out_->commit();
}

void LineOutput::flush() {
  out_->write(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
}

}  // namespace r1
