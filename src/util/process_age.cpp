#include "r1/util/process_age.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "r1/util/file.h"

namespace r1 {

double process_age_s() {
  // proc(5): the 22nd field of stat is the start in clock ticks after boot; the second, the name, may hold anything.
  const auto stat = read_file("/proc/self/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string field;
  for (int i = 3; i < 22; ++i) fields >> field;
  double ticks = 0;
  fields >> ticks;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const double now_s = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  return std::max(0.0, now_s - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

}  // namespace r1
