#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace r1::rollout {

/// `rollout.speculation`: whether the model's MTP module drafts tokens that the next pass verifies. The texts are the same
/// bits whatever is chosen (docs/speculation.md); without an MTP module nothing is ever drafted.
enum class Speculation {
  kAuto,    ///< where it is measured to be faster
  kAlways,  ///< in every decoding pass
  kOff
};

/// "auto", "always" or "off".
Speculation speculation_mode(const std::string& name);

/// What drafting did; sums over an engine's calls. All zero where nothing can be drafted.
struct SpeculationStats {
  int64_t passes = 0;         ///< decoding passes that verified drafts
  int64_t drafted = 0;        ///< tokens proposed
  int64_t accepted = 0;       ///< of them, those that the trunk drew too
  int64_t gained = 0;         ///< tokens drawn behind an accepted one: each saved its sequence a pass
  int64_t tokens = 0;         ///< that decoding passes gave
  double seconds = 0;         ///< of decoding passes whose time without drafts is known
  double plain_seconds = 0;   ///< what their tokens would have taken without drafts

  SpeculationStats operator-(const SpeculationStats& other) const;
  /// speculation_acceptance = accepted / drafted, speculation_share = gained / tokens, speculation_speedup = plain_seconds /
  /// seconds; without those whose denominator is 0.
  std::vector<std::pair<std::string, double>> figures() const;
};

/// Decides before every decoding pass whether to draft in it.
///
/// Drafting costs the module's pass and a second row per sequence, and gives 1 + acceptance tokens per sequence: what pays depends on
/// the model, the machine and above all on how many sequences decode together. So times are kept by that number, in steps of half
/// an octave: both ways are tried for a few passes, then the one with more tokens per second is taken, and the other is tried again
/// after a while, the more rarely the more often it has lost.
///
/// Rows that the module has yet to see, because their tokens were decoded without it, cost time when drafting begins. It begins when not
/// drafting has lost as much: at most twice what is lost by the best choice in hindsight, however few passes are left.
/// The clock decides nothing but the speed.
class SpeculationPolicy {
 public:
  explicit SpeculationPolicy(Speculation mode) : mode_(mode) {}

  /// For the next pass over `sequences`, whose `late_rows` the module would have to see first.
  bool choose(int64_t sequences, int64_t late_rows);
  /// What that pass gave and took.
  void record(int64_t sequences, bool drafted, int64_t late_rows, int64_t tokens, double seconds, SpeculationStats& stats);

 private:
  struct Way {
    int64_t passes = 0;     // since it was last tried anew
    double seconds = 0;     // of a pass
    double per_sequence = 0;  // tokens
    void add(double s, double t);
    double rate() const { return per_sequence / seconds; }
  };
  struct Width {
    Way plain, drafting;
    bool drafts = false;                    // the better way
    int64_t since_trial = 0, wait = 64;     // passes; how many until the other is tried again
  };
  Width& width(int64_t sequences);

  Speculation mode_;
  std::vector<Width> widths_;
  double late_row_s_ = 0;  // what a late row takes; 0: not known yet
  double lost_s_ = 0;      // by not drafting since that would have been better
};

}  // namespace r1::rollout
