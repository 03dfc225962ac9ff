// One rank of a test: `mpirun -n 4 rank_program collectives`. It prints "ok" on stdout when what it checks holds.
#include <signal.h>
#include <torch/torch.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <thread>

#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::dist {
namespace {

using std::chrono::milliseconds;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(cat("wrong: ", what));
}

// What rank r brings: small whole numbers, so that every dtype holds them and their sums.
at::Tensor values(int rank, int64_t count, at::ScalarType type, int64_t seed) {
  const auto i = torch::arange(count, torch::kLong);
  return ((i * 7 + rank * 3 + seed) % 13).to(type);
}

std::vector<int64_t> uneven(int size, int64_t total, int64_t seed) {
  std::vector<int64_t> counts(size, 0);
  int64_t left = total;
  for (int r = 0; r + 1 < size; ++r) {
    counts[r] = (r + seed) % 3 == 0 ? 0 : left * ((r * 5 + seed) % 4) / 5;
    left -= counts[r];
  }
  counts[size - 1] = left;
  return counts;
}

int64_t begin_of(const std::vector<int64_t>& counts, int rank) {
  int64_t begin = 0;
  for (int r = 0; r < rank; ++r) begin += counts[r];
  return begin;
}

void check_kinds(Communicator& comm, at::ScalarType type, int64_t count, int64_t seed) {
  const auto where = cat(c10::toString(type), " ", count, " ", seed);
  const int n = comm.size(), me = comm.rank();
  std::vector<at::Tensor> all;
  for (int r = 0; r < n; ++r) all.push_back(values(r, count, type, seed));
  auto sum = all[0].clone(), maximum = all[0].clone();
  for (int r = 1; r < n; ++r) {
    sum = sum + all[r];
    maximum = torch::maximum(maximum, all[r]);
  }
  const auto counts = uneven(n, count, seed);
  const auto mine = [&](const at::Tensor& x) { return x.narrow(0, begin_of(counts, me), counts[me]); };

  // Begun together, ended in another order.
  const auto x = all[me].clone(), y = all[me].clone(), z = all[me].clone();
  const auto scattered = torch::empty({counts[me]}, type), gathered = torch::empty({count}, type);
  Pending sums, scatter;
  if (type != torch::kByte) {
    sums = comm.all_reduce(x, Reduce::kSum, "sum");
    scatter = comm.reduce_scatter(all[me], counts, scattered, "parts");
  }
  auto maxima = comm.all_reduce(y, Reduce::kMax, "maximum");
  const int root = static_cast<int>(seed) % n;
  auto cast = comm.broadcast(z, root, "cast");
  auto gather = comm.all_gather(mine(all[0]).contiguous(), counts, gathered, "gathered");
  cast.wait();
  require(z.equal(all[root]), "broadcast " + where);
  gather.wait();
  require(gathered.equal(all[0]), "all_gather " + where);
  maxima.wait();
  require(y.equal(maximum), "maximum " + where);
  if (type != torch::kByte) {
    scatter.wait();
    require(scattered.equal(mine(sum)), "reduce_scatter " + where);
    sums.wait();
    require(x.equal(sum), "sum " + where);
  }
  gathered.zero_();
  mine(gathered).copy_(mine(all[0]));
  comm.all_gather(mine(gathered), counts, gathered, "in place").wait();
  require(gathered.equal(all[0]), "all_gather in place " + where);

  // Rank a sends rank b (3 a + b + seed) % 4 * count / 8 elements, zeros among them.
  const auto between = [&](int a, int b) { return (3 * a + b + seed) % 4 * count / 8; };
  std::vector<int64_t> to(n), from(n);
  std::vector<at::Tensor> expected;
  for (int r = 0; r < n; ++r) {
    to[r] = between(me, r);
    from[r] = between(r, me);
  }
  for (int r = 0; r < n; ++r) {
    int64_t begin = 0;
    for (int b = 0; b < me; ++b) begin += between(r, b);
    expected.push_back(values(r, 4 * count, type, seed).narrow(0, begin, from[r]));
  }
  const auto in = values(me, 4 * count, type, seed).narrow(0, 0, begin_of(to, n)).contiguous();
  const auto out = torch::empty({begin_of(from, n)}, type);
  comm.all_to_all(in, to, out, from, "exchange").wait();
  require(out.equal(torch::cat(expected)), "all_to_all " + where);
}

void collectives(Communicator& comm) {
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16, torch::kLong, torch::kByte}) {
    for (const int64_t count : {0, 1, 7, 1000, 70'001}) check_kinds(comm, type, count, count % 5);
  }
  check_kinds(comm, torch::kFloat, 3'000'001, 1);  // several segments
  for (int64_t i = 0; i < 40; ++i) check_kinds(comm, torch::kFloat, 1 + i % 3, i);
}

// A sum is ((x0 + x1) + x2) + ..., bit for bit, whatever the size.
void order_of_sums(Communicator& comm) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    for (const int64_t count : {5, 5'000, 2'000'003}) {
      std::vector<at::Tensor> all;
      for (int r = 0; r < comm.size(); ++r) {
        torch::manual_seed(r);
        all.push_back((torch::randn({count}) * 1e3).to(type));
      }
      auto sum = all[0].to(torch::kFloat);
      for (int r = 1; r < comm.size(); ++r) sum = sum + all[r].to(torch::kFloat);
      const auto x = all[comm.rank()].clone();
      comm.all_reduce(x, Reduce::kSum, "x").wait();
      require(x.equal(sum.to(type)), cat("order of sums, ", count));
    }
  }
}

void bytes(Communicator& comm) {
  const auto all = comm.all_gather_bytes(std::string(static_cast<size_t>(comm.rank() * 3), static_cast<char>('a' + comm.rank())), "names");
  for (int r = 0; r < comm.size(); ++r) {
    require(all[r] == std::string(static_cast<size_t>(r * 3), static_cast<char>('a' + r)), cat("bytes of rank ", r));
  }
  require(comm.broadcast_bytes(comm.rank() == 1 ? "from 1" : "ignored", 1, "text") == "from 1", "broadcast_bytes");
  require(comm.broadcast_bytes("", 0, "text").empty(), "broadcast_bytes of nothing");
  comm.together("all is well", [] {});
  try {
    comm.together("one fails", [&] {
      if (comm.rank() == 1) throw Error("disk full");
    });
    require(false, "together must throw");
  } catch (const Error& error) {
    require(comm.rank() == 1 && std::string(error.what()) == "disk full", "who threw keeps his error");
  } catch (const FailedElsewhere& failed) {
    require(comm.rank() != 1 && failed.message == "rank 1: disk full", failed.message);
  }
}

void pieces(Communicator& comm) {
  for (int64_t round = 1; round <= 3; ++round) {
    const int64_t total = round == 3 ? 0 : 500;
    const auto taken = torch::zeros({total}, torch::kLong);
    for (;;) {
      const auto piece = comm.take(round, total, 7);
      if (piece.begin == piece.end) break;
      taken.narrow(0, piece.begin, piece.end - piece.begin).add_(1);
      if (comm.rank() == 0) std::this_thread::sleep_for(milliseconds(5));  // a slow one
    }
    comm.all_reduce(taken, Reduce::kSum, "taken").wait();
    require(taken.eq(1).all().item<bool>(), cat("every piece once in round ", round));
  }
}

void parts(Communicator& comm) {
  const auto x = torch::full({1000}, comm.rank(), torch::kLong);
  auto pending = comm.all_reduce(x, Reduce::kSum, "before the split");
  const auto part = comm.split(comm.rank() % 2, "parity");
  const auto again = comm.split(comm.rank() % 2, "parity");
  pending.wait();
  const int n = comm.size();
  require(x[0].item<int64_t>() == n * (n - 1) / 2, "a sum across a split");
  require(part->size() == (n + 1 - comm.rank() % 2) / 2 && part->rank() == comm.rank() / 2, "sizes and ranks of parts");
  int64_t sum = 0;
  for (int r = comm.rank() % 2; r < n; r += 2) sum += r;
  for (const auto& p : {part, again}) {
    const auto y = torch::full({1}, comm.rank(), torch::kLong);
    p->all_reduce(y, Reduce::kSum, "within").wait();
    require(y.item<int64_t>() == sum, "a sum within a part");
  }
}

// --- faults: rank `who` does something bad ---

void sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(milliseconds(100));
}

void fault(Communicator& comm, const std::string& what, int who) {
  const bool bad = comm.rank() == who;
  const auto x = torch::ones({1 << 20});
  comm.set_phase("warm-up");
  for (int i = 0; i < 3; ++i) comm.all_reduce(x, Reduce::kSum, "warm-up").wait();
  std::cout << "running\n" << std::flush;
  if (what == "killed-in-collective") {
    comm.set_phase("backward");
    if (bad) {
      std::thread([] {
        std::this_thread::sleep_for(milliseconds(300));
        ::kill(::getpid(), SIGKILL);
      }).detach();
    }
    for (;;) comm.all_reduce(x.fill_(1), Reduce::kSum, "gradients").wait();
  } else if (what == "busy") {  // until somebody from outside does something
    comm.set_phase("backward");
    for (;;) comm.all_reduce(x.fill_(1), Reduce::kSum, "gradients").wait();
  } else if (what == "killed-computing") {
    comm.set_phase("rollout");
    if (bad) {
      std::this_thread::sleep_for(milliseconds(300));
      ::kill(::getpid(), SIGKILL);
    }
    comm.all_reduce(x, Reduce::kSum, "gradients").wait();
  } else if (what == "killed-all-compute") {
    comm.set_phase("rollout");
    std::this_thread::sleep_for(milliseconds(300));
    if (bad) ::kill(::getpid(), SIGKILL);
    sleep_for_ever();
  } else if (what == "stopped") {
    comm.set_phase("rollout");
    if (bad) ::kill(::getpid(), SIGSTOP);
    comm.all_reduce(x, Reduce::kSum, "gradients").wait();
  } else if (what == "missing") {
    comm.set_phase(bad ? "reward" : "backward");
    if (bad) sleep_for_ever();
    comm.all_reduce(x, Reduce::kSum, "gradients").wait();
  } else if (what == "mismatched") {
    comm.set_phase("backward");
    if (bad) {
      comm.broadcast(torch::ones({5}), who, "weights").wait();
    } else {
      comm.all_reduce(x, Reduce::kSum, "gradients").wait();
    }
    comm.barrier("after");
  } else if (what == "left-early") {
    if (!bad) comm.all_reduce(x, Reduce::kSum, "gradients").wait();
  } else if (what == "error") {
    if (bad) throw Error("this rank has an error of its own");
    comm.all_reduce(x, Reduce::kSum, "gradients").wait();
  } else if (what == "error-together") {
    comm.together("reading", [&] {
      if (bad) throw Error("this rank cannot read");
    });
  } else if (what == "exit") {
    if (bad) std::exit(3);
    comm.all_reduce(x, Reduce::kSum, "gradients").wait();
  } else {
    throw std::runtime_error("no fault " + what);
  }
}

int run(const std::vector<std::string>& words) {
  ParallelConfig config;
  if (words[0] == "fault") config.heartbeat_s = 2;
  config.deadline_s = words[0] == "fault" && words[1] == "missing" ? 2 : 60;
  auto launch = read_launch();
  if (words[0] == "port") launch.master_port = std::stoi(words[1]);
  const auto comm = connect(launch, config, false);
  if (words[0] == "collectives") collectives(*comm);
  if (words[0] == "short") {
    for (const int64_t count : {1, 1000, 300'001}) check_kinds(*comm, torch::kFloat, count, count % 5);
    bytes(*comm);
    pieces(*comm);
  }
  if (words[0] == "order") order_of_sums(*comm);
  if (words[0] == "bytes") bytes(*comm);
  if (words[0] == "pieces") pieces(*comm);
  if (words[0] == "parts") parts(*comm);
  if (words[0] == "all") {
    collectives(*comm);
    order_of_sums(*comm);
    if (comm->size() > 1) bytes(*comm);
    pieces(*comm);
    parts(*comm);
  }
  if (words[0] == "fault") fault(*comm, words[1], std::stoi(words[2]));
  if (words[0] == "status") {
    show_status_in(words[1]);
    comm->set_phase("two words");
    comm->barrier("seen");
  }
  std::cout << cat("ok ", comm->rank(), "\n") << std::flush;
  return 0;
}

}  // namespace
}  // namespace r1::dist

int main(int argc, char** argv) {
  at::set_num_threads(1);
  try {
    return r1::dist::run({argv + 1, argv + argc});
  } catch (const r1::dist::FailedElsewhere&) {
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
