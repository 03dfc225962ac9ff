#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "util/temp_folder.h"

namespace r1::apps::testing_support {

using r1::testing_support::slurp;
using r1::testing_support::TempFolder;

namespace {

int open_or_throw(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (descriptor < 0) throw std::runtime_error("cannot open " + path);
  return descriptor;
}

// Starts r1 on three descriptors, which stay the caller's.
pid_t start(const std::vector<std::string>& arguments, int in, int out, int err, const std::string& work_dir = "") {
  std::vector<std::string> words = {R1_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) {
    if (!work_dir.empty() && ::chdir(work_dir.c_str()) != 0) ::_exit(125);
    if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || (err >= 0 && ::dup2(err, 2) < 0)) ::_exit(126);
    ::execv(R1_PROGRAM, argv.data());
    ::_exit(127);
  }
  return pid;
}

int wait_for(pid_t pid, double* peak_bytes = nullptr) {
  int status = 0;
  rusage usage{};
  if (::wait4(pid, &status, 0, &usage) != pid) throw std::runtime_error("wait4 failed");
  if (peak_bytes != nullptr) *peak_bytes = 1024.0 * static_cast<double>(usage.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result run_r1(const std::vector<std::string>& arguments, const std::string& input,
              const std::string& stdout_path, const std::string& work_dir) {
  const TempFolder folder;
  const int in = open_or_throw(folder.write("in", input), O_RDONLY);
  const int out =
      open_or_throw(stdout_path.empty() ? (folder / "out").string() : stdout_path, O_WRONLY | O_CREAT);
  const int err = open_or_throw(folder / "err", O_WRONLY | O_CREAT);
  Result result;
  result.exit_code = wait_for(start(arguments, in, out, err, work_dir), &result.peak_bytes);
  for (const int descriptor : {in, out, err}) ::close(descriptor);
  if (stdout_path.empty()) result.out = slurp(folder / "out");
  result.err = slurp(folder / "err");
  return result;
}

Conversation::Conversation(const std::vector<std::string>& arguments) {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  pid_ = start(arguments, in[0], out[1], -1);
  ::close(in[0]);
  ::close(out[1]);
  to_ = in[1];
  from_ = out[0];
}

Conversation::~Conversation() {
  if (pid_ > 0) finish();
  ::close(from_);
}

std::string Conversation::ask(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return "";
  std::string answer;
  for (char c = 0;;) {
    pollfd ready{from_, POLLIN, 0};
    if (::poll(&ready, 1, 60'000) != 1 || ::read(from_, &c, 1) != 1) return "";
    if (c == '\n') return answer;
    answer += c;
  }
}

int Conversation::finish() {
  ::close(to_);
  const int code = wait_for(pid_);
  pid_ = -1;
  return code;
}

}  // namespace r1::apps::testing_support
