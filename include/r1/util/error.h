#pragma once
#include <stdexcept>
#include <string>

namespace r1 {

/// The user's mistake: a wrong config, file or argument. `main` prints what() and returns 1.
///
/// The message says where, what was found, what is accepted, and what to do:
///   configs/tiny/r1_zero.yaml:14: grpo.group_size is 1; accepted: 2 or more.
///     A group of one has zero advantage, so nothing would be learned. Try 8 or 16.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace r1
