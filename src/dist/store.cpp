#include "store.h"

#include <arpa/inet.h>
#include <c10/util/Flags.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "status.h"

C10_DECLARE_int(caffe2_log_level);

namespace r1::dist {
namespace {

using namespace std::chrono_literals;

// A socket that listens on every address of this machine.
int listen_on(int port) {
  const int descriptor = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool six = descriptor >= 0;
  const int fd = six ? descriptor : ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw Error(cat("no socket for the ranks' store: ", std::strerror(errno)));
  const int on = 1, off = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage any{};
  socklen_t size = 0;
  if (six) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    auto& a = reinterpret_cast<sockaddr_in6&>(any);
    a.sin6_family = AF_INET6;
    a.sin6_addr = in6addr_any;
    a.sin6_port = htons(static_cast<uint16_t>(port));
    size = sizeof a;
  } else {
    auto& a = reinterpret_cast<sockaddr_in&>(any);
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    size = sizeof a;
  }
  if (::bind(fd, reinterpret_cast<sockaddr*>(&any), size) != 0 || ::listen(fd, 1024) != 0) {
    const int reason = errno;
    ::close(fd);
    throw Error(cat("port ", port, ", where rank 0 is to host the ranks' store, ",
                    reason == EADDRINUSE ? "is taken on this machine; accepted: a free one"
                                         : cat("cannot be used: ", std::strerror(reason)),
                    ".\n  Another job may run here with the same MASTER_PORT: give each job its own. `ss -ltnp` shows who listens."));
  }
  return fd;
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  for (const auto family : {AF_INET, AF_INET6}) {
    for (const auto* i = list; i != nullptr; i = i->ifa_next) {
      if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != family) continue;
      if ((i->ifa_flags & IFF_UP) == 0 || (i->ifa_flags & IFF_LOOPBACK) != 0) continue;
      char text[NI_MAXHOST] = "";
      const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
      if (::getnameinfo(i->ifa_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
      if (std::strchr(text, '%') == nullptr) addresses.emplace_back(text);  // link-local ones hold for one interface only
    }
  }
  ::freeifaddrs(list);
  return addresses;
}

// Whether something listens there; gives up after two seconds.
bool answers(const std::string& host, int port) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list) != 0) return false;
  bool found = false;
  for (const auto* a = list; a != nullptr && !found; a = a->ai_next) {
    const int fd = ::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    found = ::connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!found && errno == EINPROGRESS) {
      pollfd ready{fd, POLLOUT, 0};
      int error = 0;
      socklen_t size = sizeof error;
      found = ::poll(&ready, 1, 2000) == 1 && ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    ::close(fd);
  }
  ::freeaddrinfo(list);
  return found;
}

// c10d warns of every broken connection with a trace of calls; the watch says it in a sentence. TORCH_CPP_LOG_LEVEL decides otherwise.
void keep_c10d_quiet() {
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = 2;  // errors
}

c10::intrusive_ptr<c10d::Store> connect_to(const std::string& host, int port) {
  keep_c10d_quiet();
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(port);
  options.waitWorkers = false;
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

std::string link_of(const char* path) {
  char text[128] = "";
  return ::readlink(path, text, sizeof text - 1) > 0 ? text : "";
}

}  // namespace

std::string StoreAddress::write() const { return cat(port, "\n", network, "\n", join(addresses, " ")); }

StoreAddress StoreAddress::read(const std::string& text) {
  StoreAddress a;
  std::istringstream in(text);
  in >> a.port >> a.network;
  for (std::string address; in >> address;) a.addresses.push_back(address);
  return a;
}

std::unique_ptr<Store> Store::host(int port) {
  keep_c10d_quiet();
  const int fd = listen_on(port);
  c10d::TCPStoreOptions options;
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  options.port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                                   : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  options.isServer = true;
  options.waitWorkers = false;
  options.masterListenFd = fd;
  const StoreAddress address{.addresses = own_addresses(), .port = options.port, .network = ProcessName::own().network};
  return std::unique_ptr<Store>(new Store(c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options), address));
}

std::unique_ptr<Store> Store::join(const StoreAddress& address, double timeout_s) {
  auto hosts = address.addresses;
  if (address.network == ProcessName::own().network) hosts.insert(hosts.begin(), "127.0.0.1");
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  do {
    for (const auto& host : hosts) {
      if (answers(host, address.port)) return std::unique_ptr<Store>(new Store(connect_to(host, address.port), address));
    }
    std::this_thread::sleep_for(200ms);
  } while (std::chrono::steady_clock::now() < end);
  throw Error(cat("rank 0's store does not answer at port ", address.port, " of ", r1::join(hosts, ", "), " within ", timeout_s,
                  " s.\n  Does rank 0 run, and does a firewall let this machine reach it? MASTER_ADDR and MASTER_PORT say where it is."));
}

void Store::set(const std::string& key, const std::string& value) { store_->set(key, std::vector<uint8_t>(value.begin(), value.end())); }

std::vector<std::string> Store::get(const std::vector<std::string>& keys) {
  std::vector<std::string> values;
  for (const auto& value : store_->multiGet(keys)) values.emplace_back(value.begin(), value.end());
  return values;
}

int64_t Store::add(const std::string& key, int64_t amount) { return store_->add(key, amount); }

void Store::set_prefix(const std::string& prefix) { store_ = c10::make_intrusive<c10d::PrefixStore>(prefix, store_); }

ProcessName ProcessName::own() {
  ProcessName name;
  name.pid = ::getpid();
  name.status_descriptor = StatusBoard::of_process().shared_descriptor();
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  name.host = host;
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  name.machine = cat(boot, ".", link_of("/proc/self/ns/pid"));
  name.network = cat(boot, ".", link_of("/proc/self/ns/net"));
  return name;
}

std::string ProcessName::write() const { return cat(pid, " ", status_descriptor, "\n", host, "\n", machine, "\n", network); }

ProcessName ProcessName::read(const std::string& text) {
  ProcessName name;
  std::istringstream in(text);
  in >> name.pid >> name.status_descriptor;
  in.ignore();
  std::getline(in, name.host);
  std::getline(in, name.machine);
  std::getline(in, name.network);
  return name;
}

}  // namespace r1::dist
