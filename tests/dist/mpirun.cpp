#include "mpirun.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

#include "util/temp_folder.h"

namespace r1::dist::testing_support {

std::vector<std::string> mpirun_words(int num_ranks) {
  std::vector<std::string> words{"mpirun", "-n", std::to_string(num_ranks), "--oversubscribe"};
  if (::geteuid() == 0) words.emplace_back("--allow-run-as-root");
  return words;
}

JobResult run_job(const std::vector<std::string>& words) {
  const r1::testing_support::TempFolder folder;
  const auto start = std::chrono::steady_clock::now();
  auto copy = words;
  std::vector<char*> argv;
  for (auto& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto out_path = (folder / "out").string(), err_path = (folder / "err").string();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) {
    const int in = ::open("/dev/null", O_RDONLY);
    const int out = ::open(out_path.c_str(), O_WRONLY | O_CREAT, 0600), err = ::open(err_path.c_str(), O_WRONLY | O_CREAT, 0600);
    if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) ::_exit(126);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) throw std::runtime_error("waitpid failed");
  JobResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.out = r1::testing_support::slurp(out_path);
  result.err = r1::testing_support::slurp(err_path);
  return result;
}

JobResult run_ranks(int num_ranks, const std::vector<std::string>& arguments) {
  auto words = mpirun_words(num_ranks);
  words.emplace_back(R1_RANK_PROGRAM);
  words.insert(words.end(), arguments.begin(), arguments.end());
  return run_job(words);
}

}  // namespace r1::dist::testing_support
