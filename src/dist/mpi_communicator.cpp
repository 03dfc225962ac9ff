#include "mpi_communicator.h"

#include <mpi.h>
#include <sched.h>

#include <chrono>

#include "mpi_collective.h"
#include "r1/dist/plain_mpi.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "watched_communicator.h"

namespace r1::dist {
namespace {

class MpiTransfer final : public Transfer {
 public:
  MpiTransfer(std::shared_ptr<MpiEngine> engine, std::shared_ptr<MpiEngine::Job> job) : engine_(std::move(engine)), job_(std::move(job)) {}
  void wait() override { engine_->wait(*job_); }

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<MpiEngine::Job> job_;
};

class MpiCommunicator final : public WatchedCommunicator {
 public:
  MpiCommunicator(std::shared_ptr<Session> session, std::shared_ptr<MpiEngine> engine, MpiRanks ranks, const std::string& name,
                  bool of_all)
      : WatchedCommunicator(std::move(session), ranks.rank, ranks.size, at::kCPU, name),
        engine_(std::move(engine)),
        ranks_(std::move(ranks)),
        of_all_(of_all) {}

  ~MpiCommunicator() override {
    if (of_all_ && !leave()) engine_->abandon();
  }

  std::shared_ptr<Communicator> split(int colour, std::string_view name) override {
    auto part = ranks_;
    as_collective(cat("split into '", name, "'"), [&] {
      engine_->run([&] {
        check_mpi(MPI_Comm_split(ranks_.comm, colour, ranks_.rank, &part.comm), "MPI_Comm_split");
        check_mpi(MPI_Comm_rank(part.comm, &part.rank), "MPI_Comm_rank");
        check_mpi(MPI_Comm_size(part.comm, &part.size), "MPI_Comm_size");
      });
    });
    return std::make_shared<MpiCommunicator>(session(), engine_, part, name_of_part(name, colour), false);
  }

  const MpiRanks& ranks() const { return ranks_; }
  MpiEngine& engine() { return *engine_; }

 protected:
  std::unique_ptr<Transfer> launch(Call call, int64_t number) override {
    // The kinds are the same ones in the same order.
    MpiCall mpi{.kind = static_cast<MpiCall::Kind>(call.kind),
                .in = std::move(call.in),
                .out = std::move(call.out),
                .op = call.op,
                .root = call.root,
                .counts = std::move(call.counts),
                .receive_counts = std::move(call.receive_counts)};
    auto job = std::make_shared<MpiCollective>(ranks_, std::move(mpi), number);
    engine_->add(job);
    return std::make_unique<MpiTransfer>(engine_, std::move(job));
  }

 private:
  std::shared_ptr<MpiEngine> engine_;
  MpiRanks ranks_;
  bool of_all_;
};

// Whether the ranks of this machine have to share cores. A rank that is bound to one core was given it by the launcher.
bool is_crowded(int local_size) {
  cpu_set_t set;
  const int cores = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return cores > 1 && local_size > cores;
}

}  // namespace

MpiStart::MpiStart(const Launch& launch) : engine_(std::make_shared<MpiEngine>(is_crowded(launch.local_size))) {
  engine_->run([this] {
    check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  });
  if (rank_ != launch.rank || size_ != launch.world_size) {
    abandon();
    throw Error(cat("MPI says that this is rank ", rank_, " of ", size_, ", and the environment says rank ", launch.rank, " of ",
                    launch.world_size, ".\n  r1 and its launcher are of two kinds of MPI; start it by the mpirun of the MPI that it was built with, or by "
                    "`srun --mpi=pmix`."));
  }
}

void MpiStart::abandon() { engine_->abandon(); }

std::string MpiStart::broadcast(const std::string& bytes) {
  std::string result = bytes;
  engine_->run([&] {
    auto length = static_cast<int>(bytes.size());
    check_mpi(MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD), "MPI_Bcast");
    result.resize(static_cast<size_t>(length));
    check_mpi(MPI_Bcast(result.data(), length, MPI_BYTE, 0, MPI_COMM_WORLD), "MPI_Bcast");
  });
  return result;
}

std::vector<std::string> MpiStart::all_gather(const std::string& bytes) {
  std::vector<std::string> all;
  const auto size = size_;
  for (int r = 0; r < size; ++r) {
    std::string one = r == rank_ ? bytes : "";
    engine_->run([&] {
      auto length = static_cast<int>(one.size());
      check_mpi(MPI_Bcast(&length, 1, MPI_INT, r, MPI_COMM_WORLD), "MPI_Bcast");
      one.resize(static_cast<size_t>(length));
      check_mpi(MPI_Bcast(one.data(), length, MPI_BYTE, r, MPI_COMM_WORLD), "MPI_Bcast");
    });
    all.push_back(std::move(one));
  }
  return all;
}

std::shared_ptr<Communicator> mpi_communicator(const MpiStart& start, std::shared_ptr<Session> session, int rank, int size) {
  MpiRanks ranks{.comm = MPI_COMM_WORLD, .rank = rank, .size = size, .largest_tag = 32767, .crowded = start.engine()->crowded(), .scratch = std::make_shared<MpiScratch>()};
  start.engine()->run([&] {
    void* value = nullptr;
    int found = 0;
    check_mpi(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &found), "MPI_Comm_get_attr");
    if (found != 0) ranks.largest_tag = *static_cast<int*>(value);
  });
  ranks.largest_tag -= ranks.largest_tag % 2;  // a number's two tags stay together
  return std::make_shared<MpiCommunicator>(std::move(session), start.engine(), std::move(ranks), "all ranks", true);
}

std::optional<double> plain_mpi_seconds(Communicator& comm, const std::string& name, const at::Tensor& in, const at::Tensor& out,
                                        int64_t calls) {
  auto* mpi = dynamic_cast<MpiCommunicator*>(&comm);
  if (mpi == nullptr) return {};
  const MPI_Comm c = mpi->ranks().comm;
  const int n = mpi->ranks().size;
  const auto whole = static_cast<int>(in.numel()), part = static_cast<int>(in.numel() / n);
  float* from = in.data_ptr<float>();
  float* to = out.defined() ? out.data_ptr<float>() : nullptr;
  std::function<int()> call;
  if (name == "all_reduce") call = [&] { return MPI_Allreduce(MPI_IN_PLACE, from, whole, MPI_FLOAT, MPI_SUM, c); };
  if (name == "broadcast") call = [&] { return MPI_Bcast(from, whole, MPI_FLOAT, 0, c); };
  if (name == "reduce_scatter") call = [&] { return MPI_Reduce_scatter_block(from, to, part, MPI_FLOAT, MPI_SUM, c); };
  if (name == "all_gather") call = [&] { return MPI_Allgather(from, whole, MPI_FLOAT, to, whole, MPI_FLOAT, c); };
  if (name == "all_to_all") call = [&] { return MPI_Alltoall(from, part, MPI_FLOAT, to, part, MPI_FLOAT, c); };
  TORCH_CHECK(call, "plain_mpi_seconds: no collective '", name, "'");
  double seconds = 0;
  mpi->engine().run([&] {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < calls; ++i) check_mpi(call(), name.c_str());
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(calls);
  });
  return seconds;
}

}  // namespace r1::dist
