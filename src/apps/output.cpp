#include "output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::apps {

void print(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  const int reason = errno;
  std::clearerr(stdout);
  throw Error(
      cat("standard output: ", text.size(), " bytes could not be written: ", std::strerror(reason),
          ".\n  Send the output somewhere with free space; what came out before this line is complete."));
}

}  // namespace r1::apps
