#include "status.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::dist {
namespace {

constexpr size_t kKeepEnded = 16, kPageBytes = 256;

std::string one_field(std::string text) {
  for (auto& c : text) {
    if (c == '\t' || c == '\n') c = ' ';
  }
  return text;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

template <size_t size>
void copy_text(char (&to)[size], std::string_view text) {
  const size_t length = std::min(text.size(), size - 1);
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
}

template <size_t size>
std::string text_of(const char (&from)[size]) {
  return std::string(from, ::strnlen(from, size));
}

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  for (const char c : line) {
    if (c == '\t') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

}  // namespace

std::string with_commas(int64_t number) {
  auto digits = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3) digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

std::string short_seconds(double seconds) {
  if (seconds >= 100) return with_commas(static_cast<int64_t>(seconds)) + " s";
  char text[32];
  std::snprintf(text, sizeof text, seconds == static_cast<int64_t>(seconds) ? "%.0f s" : "%.1f s", seconds);
  return text;
}

const CollectiveStatus* RankStatus::waits_in(const GroupStatus** group) const {
  for (const auto& g : groups) {
    for (const auto& c : g.newest) {
      if (c.ended || c.waits_s < 0) continue;
      if (group != nullptr) *group = &g;
      return &c;
    }
  }
  return nullptr;
}

std::string RankStatus::name() const { return cat("rank ", rank, " (pid ", pid, " on ", host, ")"); }

std::string RankStatus::doing() const {
  const GroupStatus* group = nullptr;
  const auto in_group = [&](const GroupStatus& g) { return g.name == groups.front().name ? "" : cat(" of '", g.name, "'"); };
  if (const auto* c = waits_in(&group)) {
    return cat("in phase '", phase, "', waiting since ", short_seconds(c->waits_s), " in collective ", with_commas(c->number),
               in_group(*group), ": ", c->text);
  }
  const int64_t begun = groups.empty() ? 0 : groups.front().begun;
  return cat("in phase '", phase, "', ", begun == 0 ? "before the first collective" : cat("after collective ", with_commas(begun)));
}

std::string RankStatus::write() const {
  std::ostringstream out;
  out << "R\t" << rank << '\t' << pid << '\t' << beat << '\t' << one_field(host) << '\t' << one_field(phase) << '\t'
      << static_cast<int>(state) << '\t' << one_field(finding) << '\n';
  for (const auto& g : groups) {
    out << "G\t" << one_field(g.name) << '\t' << g.begun << '\n';
    for (const auto& c : g.newest) {
      out << "C\t" << c.number << '\t' << c.ended << '\t' << c.waits_s << '\t' << one_field(c.phase) << '\t' << one_field(c.text) << '\n';
    }
  }
  return out.str();
}

RankStatus RankStatus::read(const std::string& text) {
  RankStatus s;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const auto f = fields_of(line);
    if (f[0] == "R" && f.size() == 8) {
      s.rank = std::stoi(f[1]);
      s.pid = std::stoll(f[2]);
      s.beat = std::stoll(f[3]);
      s.host = f[4];
      s.phase = f[5];
      s.state = static_cast<State>(std::stoi(f[6]));
      s.finding = f[7];
    } else if (f[0] == "G" && f.size() == 3) {
      s.groups.push_back({.name = f[1], .begun = std::stoll(f[2]), .newest = {}});
    } else if (f[0] == "C" && f.size() == 6 && !s.groups.empty()) {
      s.groups.back().newest.push_back(
          {.number = std::stoll(f[1]), .text = f[5], .phase = f[4], .ended = f[2] == "1", .waits_s = std::stod(f[3])});
    }
  }
  return s;
}

void SharedStatus::update(RankStatus& status) const {
  status.phase = text_of(phase);
  status.groups.clear();
  if (first_group[0] == '\0') return;
  status.groups.push_back({.name = text_of(first_group), .begun = first_begun, .newest = {}});
  if (number == 0) return;
  if (text_of(group) != status.groups[0].name) status.groups.push_back({.name = text_of(group), .begun = number, .newest = {}});
  status.groups.back().newest.push_back(
      {.number = number, .text = text_of(text), .phase = status.phase, .ended = false, .waits_s = std::max(0.0, seconds_now() - waits_since_s)});
}

StatusBoard& StatusBoard::of_process() {
  static auto& board = *new StatusBoard;  // never destroyed: the watch reads it while exit() runs
  return board;
}

StatusBoard::StatusBoard() {
  own_.pid = ::getpid();
  own_.host = host_name();
  void* page = MAP_FAILED;
  shared_descriptor_ = ::memfd_create("r1 status", MFD_CLOEXEC);
  if (shared_descriptor_ >= 0 && ::ftruncate(shared_descriptor_, sizeof(SharedStatus)) == 0) {
    page = ::mmap(nullptr, sizeof(SharedStatus), PROT_READ | PROT_WRITE, MAP_SHARED, shared_descriptor_, 0);
  }
  static SharedStatus alone;
  shared_ = page == MAP_FAILED ? &alone : static_cast<SharedStatus*>(page);
  copy_text(shared_->phase, own_.phase);
}

void StatusBoard::set_rank(int rank) {
  const std::lock_guard lock(mutex_);
  own_.rank = rank;
}

int StatusBoard::rank() const {
  const std::lock_guard lock(mutex_);
  return own_.rank;
}

int StatusBoard::add_group(const std::string& name) {
  const std::lock_guard lock(mutex_);
  groups_.push_back({.name = name, .begun = 0, .newest = {}});
  if (groups_.size() == 1) copy_text(shared_->first_group, name);
  return static_cast<int>(groups_.size()) - 1;
}

void StatusBoard::set_state(RankStatus::State state) {
  const std::lock_guard lock(mutex_);
  own_.state = state;
}

StatusBoard::Entry* StatusBoard::find(int group, int64_t number) {
  auto& newest = groups_[group].newest;
  const auto found = std::find_if(newest.rbegin(), newest.rend(), [&](const Entry& e) { return e.status.number == number; });
  return found == newest.rend() ? nullptr : &*found;
}

void StatusBoard::set_phase(std::string_view phase) {
  const std::lock_guard lock(mutex_);
  own_.phase = phase;
  copy_text(shared_->phase, phase);
  if (page_ != nullptr) {
    const auto line = cat("rank ", own_.rank, " pid ", own_.pid, " host ", own_.host, " phase ", own_.phase, " ", last_);
    write_page(line.data(), line.size());
  }
}

int64_t StatusBoard::begin(int group, const std::string& text) {
  const std::lock_guard lock(mutex_);
  auto& g = groups_[group];
  for (size_t i = 0; i < g.newest.size() && g.newest.size() >= kKeepEnded;) {  // those that have not ended stay
    if (g.newest[i].status.ended) {
      g.newest.erase(g.newest.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
    ++i;
  }
  g.newest.push_back({{.number = ++g.begun, .text = text, .phase = own_.phase, .ended = false, .waits_s = -1}, {}});
  if (group == 0) shared_->first_begun = g.begun;
  show(g, g.newest.back(), "begun");
  return g.begun;
}

void StatusBoard::wait(int group, int64_t number) {
  const std::lock_guard lock(mutex_);
  if (auto* e = find(group, number)) {
    e->status.waits_s = 0;
    e->waits_since = Clock::now();
    copy_text(shared_->group, groups_[group].name);
    copy_text(shared_->text, e->status.text);
    shared_->waits_since_s = seconds_now();
    shared_->number = number;
    show(groups_[group], *e, "waits");
  }
}

void StatusBoard::end(int group, int64_t number) {
  const std::lock_guard lock(mutex_);
  if (auto* e = find(group, number)) {
    e->status.ended = true;
    e->status.waits_s = -1;
    shared_->number = 0;
    show(groups_[group], *e, "ended");
  }
}

RankStatus StatusBoard::snapshot() const {
  const std::lock_guard lock(mutex_);
  auto s = own_;
  const auto now = Clock::now();
  for (const auto& g : groups_) {
    auto& to = s.groups.emplace_back(GroupStatus{.name = g.name, .begun = g.begun, .newest = {}});
    for (const auto& e : g.newest) {
      to.newest.push_back(e.status);
      if (e.status.waits_s >= 0) to.newest.back().waits_s = std::chrono::duration<double>(now - e.waits_since).count();
    }
  }
  return s;
}

void StatusBoard::show_in(const std::string& folder) {
  {
    const std::lock_guard lock(mutex_);
    const auto path = cat(folder, "/rank-", own_.rank);
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const bool sized = descriptor >= 0 && ::ftruncate(descriptor, kPageBytes) == 0;
    void* page = sized ? ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED;
    const int reason = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (page == MAP_FAILED) throw Error(cat(path, ": cannot keep this rank's status here: ", std::strerror(reason), ".\n  Is the folder there, and writable?"));
    if (page_ != nullptr) ::munmap(page_, kPageBytes);
    page_ = static_cast<char*>(page);
  }
  set_phase(snapshot().phase);
}

void StatusBoard::show(const Group& group, const Entry& entry, const char* how) {
  if (page_ == nullptr) return;
  // The kind and the tensor's name are the text up to its sizes: "all_reduce of 'gradients'".
  const auto& text = entry.status.text;
  const auto name = text.substr(0, text.find(" ("));
  last_ = cat("number ", entry.status.number, " ", name, " ", how, group.name == groups_.front().name ? "" : cat(" in ", group.name));
  const auto line = cat("rank ", own_.rank, " pid ", own_.pid, " host ", own_.host, " phase ", own_.phase, " ", last_);
  write_page(line.data(), line.size());
}

void StatusBoard::write_page(const char* line, size_t length) {
  char text[kPageBytes];
  const size_t shown = std::min(length, kPageBytes - 1);
  std::memcpy(text, line, shown);
  std::memset(text + shown, ' ', kPageBytes - shown);
  text[kPageBytes - 1] = '\n';
  std::memcpy(page_, text, kPageBytes);
}

void show_status_in(const std::string& folder) { StatusBoard::of_process().show_in(folder); }

}  // namespace r1::dist
