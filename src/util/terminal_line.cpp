#include "terminal_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

namespace r1 {
namespace {

constexpr const char* kClear = "\r\x1b[K";

// One terminal, so one of these.
struct LineState {
  std::mutex mutex;
  bool drawn = false;
};

LineState& line_state() {
  static LineState state;
  return state;
}

size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string cut_to_width(const std::string& text, size_t width) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool continues = (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
    if (!continues && characters++ == width) return text.substr(0, i);
  }
  return text;
}

void write_stderr(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) return;
    if (written > 0) done += static_cast<size_t>(written);
  }
}

void draw_terminal_line(const std::string& text) {
  const std::lock_guard lock(line_state().mutex);
  write_stderr(kClear + cut_to_width(text, terminal_columns() - 1));
  line_state().drawn = true;
}

void clear_terminal_line() {
  const std::lock_guard lock(line_state().mutex);
  if (line_state().drawn) write_stderr(kClear);
  line_state().drawn = false;
}

void end_terminal_line() {
  const std::lock_guard lock(line_state().mutex);
  if (line_state().drawn) write_stderr("\n");
  line_state().drawn = false;
}

}  // namespace r1
