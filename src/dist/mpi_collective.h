#pragma once
#include <mpi.h>

#include <deque>

#include "mpi_engine.h"
#include "mpi_messages.h"
#include "r1/dist/communicator.h"

namespace r1::dist {

/// Memory for what is received and then added up, kept from collective to collective: fresh pages would cost more than the transfer.
/// only the thread that drives MPI uses it.
class MpiScratch {
 public:
  std::vector<char> take(int64_t bytes);
  void give_back(std::vector<char> buffer) { free_.push_back(std::move(buffer)); }

 private:
  std::vector<std::vector<char>> free_;
};

/// The ranks of an MPI communicator.
struct MpiRanks {
  MPI_Comm comm;
  int rank, size;
  int largest_tag;
  bool crowded;  ///< more ranks than cores
  std::shared_ptr<MpiScratch> scratch;
};

/// What is done with tensors' bytes. `in` and `out` are as in Communicator's functions; offsets and counts are elements.
struct MpiCall {
  enum class Kind { kAllReduce, kBroadcast, kReduceScatter, kAllGather, kAllToAll, kBarrier } kind;
  at::Tensor in, out;
  Reduce op;
  int root;
  std::vector<int64_t> counts, receive_counts;
};

/// A collective out of messages from rank to rank.
///
///   all_gather, all_to_all   everybody sends to everybody
///   reduce_scatter           everybody sends each rank's part to it; it adds the parts up in the order of ranks
///   all_reduce               the same, then everybody sends his sums to everybody. Up to 8 KiB: everybody sends everything to
///                            everybody and adds it up alone
///   broadcast                up to 64 KiB (512 where ranks share cores) the root sends to everybody; else its n-1 parts to one rank
///                            each, which pass them on
///
/// Each rank takes in and gives out (n-1)/n of the bytes a step, the least there is; with many ranks small messages become many
/// (n-1 a rank). MPI's own collectives are not used: the nonblocking ones of Open MPI 4.1 take up to twice the time of the blocking
/// ones, know no bfloat16, and add in an order of their own. Long tensors go in segments, two under way at a time, whose sums are
/// taken while they are in the cache.
class MpiCollective final : public MpiEngine::Job {
 public:
  /// `number` of the collective: of the messages' tags, the same on every rank.
  MpiCollective(const MpiRanks& ranks, MpiCall call, int64_t number);
  State advance() override;

 private:
  struct Range {
    int64_t begin, count;  // elements
  };
  struct Segment {
    int64_t index;
    int stage = 0;
    Messages messages;
    std::vector<char> received;  // one behind the other in order of ranks, without this rank's own
  };

  void cut();                                      // sets parts and segments
  Range part(int rank, int64_t segment) const;     // of the tensor that is cut
  void open(Segment& segment);                     // begins stage 0
  bool close_stage(Segment& segment);              // its messages are through; true when the segment is, else stage 1 has begun
  void exchange_parts(Segment& segment);
  void exchange_whole(Segment& segment);
  void pass_on(Segment& segment, int but_not_to);  // this rank's part to the others, theirs into their places
  void add_up(Segment& segment, const at::Tensor& own, Range own_range, const at::Tensor& out, int64_t out_begin);
  void send(Segment& segment, const at::Tensor& from, Range range, int to);
  void receive(Segment& segment, const at::Tensor& into, Range range, int from);

  MpiRanks ranks_;
  MpiCall call_;
  int64_t number_, item_bytes_ = 1;
  bool whole_ = false;  // small: not cut
  std::vector<int64_t> begins_, counts_;  // of each rank's part
  int64_t segment_elements_ = 0, num_segments_ = 1, next_ = 0;
  std::deque<Segment> open_;
};

}  // namespace r1::dist
