#pragma once

namespace r1 {

/// Seconds since this process was started, the loading of its libraries included; to a hundredth.
double process_age_s();

}  // namespace r1
