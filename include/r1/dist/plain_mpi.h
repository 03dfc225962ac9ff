#pragma once
#include <optional>
#include <string>

#include "r1/dist/communicator.h"

namespace r1::dist {

/// What `r1 bench comm` compares with: seconds a call of a plain loop over MPI's own blocking collective (MPI_Allreduce and so on, of
/// float32, equal parts), with nothing in between. Collective.
///
///   name      as kind_name() says: "all_reduce", "broadcast", "reduce_scatter", "all_gather" or "all_to_all"
///   in, out   as for Communicator's function of that name; the sizes must divide by the number of ranks
///
/// Nothing when `comm` is not MPI's.
std::optional<double> plain_mpi_seconds(Communicator& comm, const std::string& name, const at::Tensor& in, const at::Tensor& out,
                                        int64_t calls);

}  // namespace r1::dist
