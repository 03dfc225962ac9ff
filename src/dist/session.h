#pragma once
#include <memory>
#include <string>

#include "store.h"
#include "watch.h"

namespace r1::dist {

/// What all communicators of a process share: the store and the watch. It ends with the last of them.
class Session {
 public:
  /// Collective. `store` and `counters`: two connections, for a request that waits must not hold up the watch's.
  Session(std::unique_ptr<Store> store, std::unique_ptr<Store> counters, const WatchSettings& settings);

  /// Adds `amount` to a number that all ranks share, 0 at first; returns the sum.
  int64_t add(const std::string& key, int64_t amount);

  void leave();  ///< all collectives are over: from now on nobody misses this rank
  void fail();   ///< this rank ends by an error of its own
  /// A collective has failed. Gives the watch the time to find out why and to end the process; returns when it found nothing.
  void explain_failure();

 private:
  std::unique_ptr<Store> counters_;
  Watch watch_;
};

}  // namespace r1::dist
