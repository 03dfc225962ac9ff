#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace r1 {

double monotonic_s();  ///< seconds of a steady clock

/// One line that says how far a long job is: "pretrain  120/800  15%  loss 2.31  42k tok/s  1m02s, 5m40s
/// left". On a terminal the line is redrawn at most 5 times a second; otherwise a plain line every 10 s and
/// at the end. Goes to stderr. Nothing is printed for a job that ends within 2 s unless it is a terminal.
class Progress {
 public:
  /// `clock_s` is the clock, in seconds; tests bring their own.
  Progress(std::string title, int64_t total, std::function<double()> clock_s = monotonic_s);
  ~Progress();  ///< without finish(): leaves the last state on the screen
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// `note` is free text, for example "reward 0.41  len 12". done <= total.
  void update(int64_t done, const std::string& note = "");
  void finish(const std::string& note = "");  ///< the last line, without the time left; once

 private:
  std::string line(double now_s, bool final_line) const;
  void draw(double now_s, bool final_line);
  std::string title_, note_;
  std::function<double()> clock_s_;
  int64_t total_ = 0, done_ = 0;
  double start_s_ = 0, last_draw_s_ = 0, first_s_ = 0;
  int64_t first_done_ = -1;  ///< done at the first update: a resumed job's ETA counts from there
  bool terminal_ = false, finished_ = false, drawn_ = false;
};

}  // namespace r1
