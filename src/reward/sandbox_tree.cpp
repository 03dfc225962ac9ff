#include "sandbox_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace r1::sandbox {
namespace {

std::string read_proc(int proc, const std::string& path) {
  const int file = openat(proc, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  char text[4096];
  const ssize_t size = read(file, text, sizeof text);
  close(file);
  return {text, size_t(size < 0 ? 0 : size)};
}

void append_children(int proc, pid_t pid, std::vector<pid_t>& pids) {
  const std::string tasks = std::to_string(pid) + "/task";
  const int folder = openat(proc, tasks.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  DIR* entries = fdopendir(folder);
  while (const dirent* entry = readdir(entries)) {
    if (entry->d_name[0] == '.') continue;
    const std::string children = read_proc(proc, tasks + "/" + entry->d_name + "/children");
    for (const char* at = children.c_str(); *at != '\0';) {
      char* end = nullptr;
      const long child = std::strtol(at, &end, 10);
      if (end == at) break;
      pids.push_back(pid_t(child));
      at = *end == ' ' ? end + 1 : end;
    }
  }
  closedir(entries);
}

void add_use(int proc, pid_t pid, TreeUse& use) {
  const std::string stat = read_proc(proc, std::to_string(pid) + "/stat");
  const size_t name_end = stat.rfind(')');  // the name may hold any bytes
  if (name_end == std::string::npos) return;
  unsigned long user = 0, system = 0;
  long waited_user = 0, waited_system = 0, threads = 0, resident_pages = 0;
  if (std::sscanf(stat.c_str() + name_end + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %ld %*d %*u %*u %ld",
                  &user, &system, &waited_user, &waited_system, &threads, &resident_pages) != 6)
    return;
  use.cpu_seconds +=
      double(user + system + (unsigned long)(waited_user + waited_system)) / double(sysconf(_SC_CLK_TCK));
  use.memory_bytes += resident_pages * sysconf(_SC_PAGESIZE);
  use.processes += threads;
}

}  // namespace

TreeUse tree_use(int proc, pid_t root) {
  TreeUse use;
  std::vector<pid_t> pids = {root};
  for (size_t i = 0; i < pids.size(); ++i) {
    add_use(proc, pids[i], use);
    append_children(proc, pids[i], pids);
  }
  return use;
}

}  // namespace r1::sandbox
