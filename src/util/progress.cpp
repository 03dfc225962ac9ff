#include "r1/util/progress.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "r1/util/strings.h"
#include "terminal_line.h"

namespace r1 {
namespace {

constexpr double kRedrawSeconds = 0.2, kLineSeconds = 10, kShortJobSeconds = 2;

}  // namespace

double monotonic_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(std::string title, int64_t total, std::function<double()> clock_s)
    : title_(std::move(title)),
      clock_s_(std::move(clock_s)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) != 0) {
  start_s_ = last_draw_s_ = clock_s_();
}

Progress::~Progress() {
  // Left by an exception: the last state stays on the screen.
  if (!finished_ && terminal_ && drawn_) end_terminal_line();
}

void Progress::update(int64_t done, const std::string& note) {
  if (finished_) return;
  const double now_s = clock_s_();
  if (first_done_ < 0) {
    first_done_ = done;
    first_s_ = now_s;
  }
  done_ = done;
  note_ = note;
  const bool due = now_s - last_draw_s_ >= (terminal_ ? kRedrawSeconds : kLineSeconds);
  if (due || (terminal_ && !drawn_)) draw(now_s, false);
}

void Progress::finish(const std::string& note) {
  if (finished_) return;
  finished_ = true;
  if (!note.empty()) note_ = note;
  const double now_s = clock_s_();
  if (terminal_ || drawn_ || now_s - start_s_ >= kShortJobSeconds) draw(now_s, true);
}

std::string Progress::line(double now_s, bool final_line) const {
  std::string text = cat(title_, "  ", done_, "/", total_);
  if (total_ > 0) text += cat("  ", 100 * done_ / total_, "%");
  if (!note_.empty()) text += "  " + note_;
  text += "  " + human_seconds(now_s - start_s_);
  const int64_t since_first = done_ - first_done_;
  if (!final_line && first_done_ >= 0 && since_first > 0 && total_ > done_) {
    const double left_s =
        (now_s - first_s_) / static_cast<double>(since_first) * static_cast<double>(total_ - done_);
    text += ", " + human_seconds(left_s) + " left";
  }
  return text;
}

void Progress::draw(double now_s, bool final_line) {
  const std::string text = line(now_s, final_line);
  drawn_ = true;
  last_draw_s_ = now_s;
  if (!terminal_) {
    write_stderr(text + "\n");
    return;
  }
  draw_terminal_line(text);
  if (final_line) end_terminal_line();
}

}  // namespace r1
