#pragma once
#include <string>

#include "page_data.h"

namespace r1::report {

/// "2026-11-24 01:46:18 UTC".
std::string utc_text(double unix_s);

/// What a terminal shows of one run: its state, held-out accuracy with intervals before and after each stage,
/// seconds by phase, alarms.
std::string terminal_table(const RunContents& contents);

}  // namespace r1::report
