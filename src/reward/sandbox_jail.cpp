#include "sandbox_jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace r1::sandbox {
namespace {

namespace fs = std::filesystem;
constexpr unsigned kNobody = 65534;
constexpr const char* kSystemFolders[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"};
// What the loader, Debian's names of compilers and Python need from /etc.
constexpr const char* kSystemFiles[] = {"/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"};
constexpr const char* kDevices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};

std::string failure(const std::string& what) { return what + ": " + std::strerror(errno); }

bool write_file(int folder, const char* path, const std::string& text) {
  const int file = openat(folder, path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = write(file, text.data(), text.size()) == ssize_t(text.size());
  close(file);
  return written;
}

/// This process, already in a new user namespace, keeps the ids it had outside as the only ones inside.
std::string map_ids(int proc, unsigned uid, unsigned gid) {
  const auto line = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1\n"; };
  if (!write_file(proc, "self/setgroups", "deny")) return failure("writing /proc/self/setgroups");
  if (!write_file(proc, "self/uid_map", line(uid))) return failure("writing /proc/self/uid_map");
  if (!write_file(proc, "self/gid_map", line(gid))) return failure("writing /proc/self/gid_map");
  return "";
}

/// A detached copy of the mounts at and below a path: taken before the new root hides it.
struct Bind {
  std::string target;
  int tree;
};

std::string take_bind(const std::string& path, uint64_t flags, std::vector<Bind>& binds) {
  const int tree =
      int(syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (tree < 0) return failure("open_tree " + path);
  mount_attr attributes = {};
  attributes.attr_set = flags;
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0)
    return failure("mount_setattr " + path);
  binds.push_back({path, tree});
  return "";
}

std::vector<std::string> system_paths(const std::vector<std::string>& read_only) {
  std::vector<std::string> paths(std::begin(kSystemFolders), std::end(kSystemFolders));
  paths.insert(paths.end(), std::begin(kSystemFiles), std::end(kSystemFiles));
  paths.insert(paths.end(), read_only.begin(), read_only.end());
  return paths;
}

/// Links stay links (/bin -> usr/bin); what does not exist is left out.
std::string take_system(std::vector<Bind>& binds, std::vector<std::pair<std::string, std::string>>& links,
                        const std::vector<std::string>& read_only) {
  std::error_code ignored;
  for (const auto& path : system_paths(read_only)) {
    if (fs::is_symlink(path, ignored)) {
      links.emplace_back(fs::read_symlink(path, ignored).string(), path);
    } else if (fs::exists(path, ignored)) {
      const auto error = take_bind(path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, binds);
      if (!error.empty()) return error;
    }
  }
  for (const char* device : kDevices) {
    const auto error = take_bind(device, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, binds);
    if (!error.empty()) return error;
  }
  return "";
}

std::string place(const Bind& bind) {
  const std::string target = "." + bind.target;
  std::error_code ignored;
  struct stat status = {};
  if (fstatat(bind.tree, "", &status, AT_EMPTY_PATH) != 0) return failure("stat " + bind.target);
  if (S_ISDIR(status.st_mode)) {
    fs::create_directories(target, ignored);
  } else {
    fs::create_directories(fs::path(target).parent_path(), ignored);
    close(open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444));
  }
  if (syscall(SYS_move_mount, bind.tree, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return failure("move_mount " + bind.target);
  close(bind.tree);
  return "";
}

std::string build_root(const std::vector<std::string>& read_only) {
  std::vector<Bind> binds;
  std::vector<std::pair<std::string, std::string>> links;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failure("making mounts private");
  if (auto error = take_system(binds, links, read_only); !error.empty()) return error;
  if (mount("r1-sandbox", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") != 0)
    return failure("mounting a tmpfs");
  if (chdir("/tmp") != 0) return failure("entering the tmpfs");
  umask(0022);
  for (const auto& bind : binds) {
    if (auto error = place(bind); !error.empty()) return error;
  }
  for (const auto& [target, link] : links) {
    std::error_code ignored;
    fs::create_directories(fs::path("." + link).parent_path(), ignored);
    fs::create_symlink(target, "." + link, ignored);
  }
  mkdir("tmp", 0755);
  if (symlink("/tmp", "dev/shm") != 0) return failure("linking /dev/shm");
  if (syscall(SYS_pivot_root, ".", ".") != 0) return failure("pivot_root");
  if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return failure("leaving the old root");
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof attributes) != 0)
    return failure("making the root read-only");
  return "";
}

/// Of the only writable file system.
std::string folder_options(const SandboxLimits& limits) {
  return "size=" + std::to_string(limits.file_bytes) + ",nr_inodes=4096,mode=0700";
}

}  // namespace

const int kSessionNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC;

std::string become_nobody() {
  if (geteuid() != 0) return "";
  if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
      setresuid(kNobody, kNobody, kNobody) != 0)
    return failure("becoming nobody");
  prctl(PR_SET_DUMPABLE, 1);  // else /proc/self/uid_map belongs to root
  return "";
}

std::string enter_jail(const std::vector<std::string>& read_only) {
  const int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int others = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  const bool privileged = geteuid() == 0 && unshare(others) == 0;
  if (!privileged) {
    if (auto error = become_nobody(); !error.empty()) return error;
    const unsigned uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER | others) != 0)
      return failure("unshare (user, mount, network, ipc, uts namespaces)");
    if (auto error = map_ids(proc, uid, gid); !error.empty()) return error;
  }
  close(proc);
  if (auto error = build_root(read_only); !error.empty()) return error;
  if (sethostname("sandbox", 7) != 0) return failure("sethostname");
  return privileged ? become_nobody() : "";
}

std::string drop_privileges() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    prctl(PR_CAPBSET_DROP, capability);  // refused without CAP_SETPCAP, and then there is none to drop
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) return failure("dropping capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failure("no_new_privs");
  return "";
}

void limit_names(const SandboxLimits& limits) {
  (void)!mount(nullptr, "/tmp", nullptr, MS_REMOUNT | MS_NOSUID | MS_NODEV, folder_options(limits).c_str());
}

std::string enter_session(int proc, unsigned uid, unsigned gid, const SandboxLimits& limits) {
  write_file(proc, "self/oom_score_adj", "1000");  // the machine's last resort ends a sandbox first
  if (auto error = map_ids(proc, uid, gid); !error.empty()) return error;
  const std::string options = folder_options(limits);
  if (mount("r1-sandbox", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    return failure("mounting /tmp (" + options + ")");
  if (chdir("/tmp") != 0) return failure("entering /tmp");
  return drop_privileges();
}

std::vector<std::string> bubblewrap_command(const std::vector<std::string>& read_only,
                                            const SandboxLimits& limits) {
  std::vector<std::string> command = {"bwrap",     "--unshare-all", "--as-pid-1", "--die-with-parent",
                                      "--cap-add", "CAP_SYS_ADMIN", "--hostname", "sandbox"};
  const auto add = [&](std::initializer_list<std::string> words) { command.insert(command.end(), words); };
  std::error_code ignored;
  for (const auto& path : system_paths(read_only)) {
    if (fs::is_symlink(path, ignored)) {
      add({"--symlink", fs::read_symlink(path, ignored).string(), path});
    } else if (fs::exists(path, ignored)) {
      add({"--ro-bind", path, path});
    }
  }
  for (const char* device : kDevices) add({"--dev-bind", device, device});
  add({"--symlink", "/tmp", "/dev/shm"});
  add({"--perms", "0700", "--size", std::to_string(limits.file_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"});
  return command;
}

}  // namespace r1::sandbox
