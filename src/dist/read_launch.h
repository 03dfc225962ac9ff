#pragma once
#include <map>

#include "r1/dist/launch.h"

namespace r1::dist {

/// read_launch() over any variables.
Launch launch_of(const std::map<std::string, std::string>& variables);

/// The first machine of "gpu[007-012,20],login1": "gpu007".
std::string first_host(const std::string& slurm_node_list);

}  // namespace r1::dist
