#include "session.h"

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::dist {

Session::Session(std::unique_ptr<Store> store, std::unique_ptr<Store> counters, const WatchSettings& settings)
    : counters_(std::move(counters)), watch_(std::move(store), settings) {}

int64_t Session::add(const std::string& key, int64_t amount) {
  try {
    return counters_->add(key, amount);
  } catch (const std::exception& error) {
    watch_.explain_failure();
    throw Error(cat("the ranks' store has failed: ", error.what()));
  }
}

void Session::leave() { watch_.leave(); }
void Session::fail() { watch_.fail(); }
void Session::explain_failure() { watch_.explain_failure(); }

}  // namespace r1::dist
