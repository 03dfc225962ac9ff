#pragma once
#include <map>
#include <mutex>

#include "r1/dist/communicator.h"
#include "session.h"

namespace r1::dist {

/// What MPI and NCCL have in common: every collective gets a number, and the watch knows who is in which one.
class WatchedCommunicator : public Communicator {
 public:
  void set_phase(std::string_view phase) final;
  Piece take(int64_t round, int64_t total, int64_t size) final;

 protected:
  WatchedCommunicator(std::shared_ptr<Session> session, int rank, int size, at::Device device, const std::string& name);

  std::unique_ptr<Transfer> begin(Call call) final;
  /// Hands the call to the backend. `number`, from 1, is the same on every rank.
  virtual std::unique_ptr<Transfer> launch(Call call, int64_t number) = 0;
  /// Whether the backend itself tells the board when a collective is being waited for, and when it has ended: on a GPU wait() returns
  /// long before.
  virtual bool ends_by_itself() const { return false; }
  int group() const { return group_; }
  /// Runs something that waits for the other ranks as a collective of its own number and name.
  void as_collective(const std::string& text, const std::function<void()>& work);
  /// A name for the ranks of one colour: "experts 3"; "experts 3 #2" at the second split of that name.
  std::string name_of_part(std::string_view name, int colour);
  /// Of the communicator of all ranks, in its destructor: waits until all have come here. False: this rank is failing, and nobody
  /// should wait for it.
  bool leave();

  const std::shared_ptr<Session>& session() const { return session_; }

 private:
  std::shared_ptr<Session> session_;
  std::string name_;
  int group_;
  std::map<std::string, int, std::less<>> splits_;  // of each name
  int exceptions_at_start_;
  std::mutex order_;  // numbers go to the backend in their order, whoever begins
};

}  // namespace r1::dist
