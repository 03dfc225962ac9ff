#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "gradient_tree.h"
#include "r1/train/optimizer.h"
#include "r1/train/sharing.h"

namespace r1::train {

/// Adds up the gradients of a step's micro-batches over all ranks.
///
/// The parameters' elements are cut into chunks, the chunks into buckets, the last parameter's first since backward makes its
/// gradient first, and each bucket's chunks are dealt over the ranks: the owner of a chunk adds what all ranks have for it. In the
/// backward pass of a rank's last micro-batch a bucket leaves as soon as its gradients are there, so that adding runs beside
/// computing. All ranks begin the buckets in the same order, also one that has no micro-batch.
///
///   exact   a rank sends its tree blocks (gradient_tree.h) and the owner goes on with the tree: bits do not depend on the ranks
///   fast    a rank sends one sum, added by Communicator::reduce_scatter
///
/// A step is a number of passes; in pass p a rank's micro-batch is number p of its own. Where experts are dealt over ranks, all make the
/// same number of passes, the last ones empty on some, and an expert's rank has the gradients of all micro-batches of its group: a
/// parameter of one has a leaf for each rank of the group, a source, whose gradients go on in a tree of their own; this rank sends and
/// sums for its sources what it elsewhere does for itself.
///
/// Bytes that a rank sends in a step, P parameters: 4 P (R - 1) / R for a sum, as many again to give it to all ranks (without ZeRO);
/// in exact mode the first times the number of its blocks, 1 where R and the micro-batches are powers of two.
class GradientExchange {
 public:
  struct Chunk {
    size_t parameter;
    int64_t begin, count;  ///< elements
    int owner = 0;
  };

  static constexpr int64_t kBucketElements = 4 << 20;  ///< 16 MiB: long enough for full bandwidth, short enough to overlap

  struct Options {
    bool overlap = true;    ///< buckets leave within backward; of several exchanges over the same ranks one may do so, and the others
                            ///< finish after it
    bool lockstep = false;  ///< within a pass ranks wait for each other (for experts), so that here none may
  };
  /// Float32 leaves, or on a device (numerics fast) leaves whose float32 sums finish() is given. `sources`: [sources][parameters]
  /// where the gradients are not the parameters' own; the r-th of the sharing ranks has the micro-batches of the job's ranks
  /// r sources, r sources + 1, ...
  GradientExchange(std::vector<at::Tensor> parameters, std::vector<std::vector<at::Tensor>> sources, const Sharing& sharing, const Options& options);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  /// A step of so many micro-batches begins; gradients have been dropped.
  void begin_step(int64_t micro_batches, int64_t passes);
  /// Around each backward pass, in order.
  void before_backward(int64_t pass);
  void after_backward(int64_t pass);
  /// Afterwards the parameters' .grad are the step's; with ZeRO of the rank's own chunks alone, elsewhere they may hold anything.
  /// Without begin_step the .grad are the whole step's already, and stay.
  ///
  /// `sums`: on a device, where a rank adds up its own, the sum of each parameter, which becomes that of all ranks; else empty.
  void finish(std::vector<at::Tensor> sums = {});
  /// With ZeRO: every rank's parameters in its own chunks on all ranks.
  void gather_parameters();

  /// Each rank's figures of its own chunks, one for each chunk, on all ranks in the order of the chunks.
  std::vector<double> gather_by_chunk(const std::vector<double>& own) const;

  const std::shared_ptr<dist::Communicator>& ranks() const { return sharing_.ranks; }
  /// In the order of the parameters; within a parameter ascending.
  const std::vector<Chunk>& chunks() const { return chunks_; }
  bool owns(const Chunk& chunk) const { return !sharing_.zero || chunk.owner == sharing_.ranks->rank(); }
  double exposed_s() const { return exposed_s_; }  ///< so far: time that this rank has waited for others and sent without computing

 private:
  struct Bucket;
  struct Hook;
  using Tree = TreeSum<at::Tensor, at::Tensor (*)(at::Tensor, at::Tensor)>;

  void take(size_t parameter, int64_t pass);  // its gradients into the trees
  void gradient_is_ready(size_t parameter);
  void begin_ready_buckets(bool all);
  void send(Bucket& bucket);
  void receive(Bucket& bucket);
  void spread(Bucket& bucket);
  std::vector<at::Tensor> terms_of(size_t parameter) const;
  std::vector<Block> blocks_from(int rank) const;
  at::Tensor gradient_of(size_t parameter) const { return sums_.empty() ? parameters_[parameter].grad() : sums_[parameter]; }

  std::vector<at::Tensor> parameters_, sums_;
  std::vector<std::vector<at::Tensor>> sources_;
  std::vector<Chunk> chunks_;
  Sharing sharing_;
  Options options_;
  std::vector<std::unique_ptr<Bucket>> buckets_;       // in the order in which they leave
  std::vector<std::vector<size_t>> buckets_of_;        // by parameter
  std::vector<std::vector<Tree>> trees_;               // [sources][parameters]; exact
  std::vector<bool> ready_;                            // by parameter: in the last micro-batch's backward pass
  bool stepping_ = false, armed_ = false;
  int64_t pass_ = 0, passes_ = 0, total_ = 0;
  std::vector<Share> mine_;  // micro-batches of each source
  size_t next_to_send_ = 0, next_to_receive_ = 0;
  double exposed_s_ = 0;
};

}  // namespace r1::train
