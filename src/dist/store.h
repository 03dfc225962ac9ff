#pragma once
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <memory>
#include <string>
#include <vector>

namespace r1::dist {

/// Where the store listens.
struct StoreAddress {
  std::vector<std::string> addresses;  ///< of rank 0's machine
  int port = 0;
  std::string network;  ///< ProcessName::network of rank 0; ranks of the same one use the loopback
  std::string write() const;
  static StoreAddress read(const std::string& text);
};

/// A few short texts that all ranks share: LibTorch's TCPStore, hosted by rank 0. Requests throw when the connection breaks; one that
/// gets no answer (a stopped rank 0, a cut link) blocks, so only threads that may block make them.
class Store {
 public:
  /// On rank 0. Port 0 takes a free one. Throws Error that names a port that is taken.
  static std::unique_ptr<Store> host(int port);
  /// On the others: tries one address after the other. Throws Error that names them when none answers within `timeout_s`.
  static std::unique_ptr<Store> join(const StoreAddress& address, double timeout_s);

  const StoreAddress& address() const { return address_; }
  void set(const std::string& key, const std::string& value);
  /// All keys must have been set; waits for those that have not.
  std::vector<std::string> get(const std::vector<std::string>& keys);
  int64_t add(const std::string& key, int64_t amount);
  void set_prefix(const std::string& prefix);  ///< of all keys from now on
  const c10::intrusive_ptr<c10d::Store>& torch_store() const { return store_; }

 private:
  Store(c10::intrusive_ptr<c10d::Store> store, StoreAddress address) : store_(std::move(store)), address_(std::move(address)) {}
  c10::intrusive_ptr<c10d::Store> store_;
  StoreAddress address_;
};

/// This process as others on its machine can look for it.
struct ProcessName {
  int64_t pid = 0;
  std::string host;
  std::string machine;  ///< boot and process namespace: equal where a pid means the same process
  int status_descriptor = -1;  ///< of the process: a file of a SharedStatus
  std::string network;  ///< boot and network namespace: equal where 127.0.0.1 is the same machine
  static ProcessName own();
  std::string write() const;
  static ProcessName read(const std::string& text);
};

}  // namespace r1::dist
