#include "r1/util/log.h"

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>
#include <mutex>

#include "descriptor.h"
#include "terminal_line.h"

namespace r1 {
namespace {

// Looks up stderr at every line (a caller may redirect it) and clears a progress line that is drawn there.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  StderrSink() : base_sink(std::make_unique<spdlog::pattern_formatter>("%H:%M:%S %l %v")) {}

 private:
  static const char* colour(spdlog::level::level_enum level) {
    if (level == spdlog::level::warn) return "\x1b[33m";
    if (level == spdlog::level::err) return "\x1b[31m";
    return level == spdlog::level::debug ? "\x1b[2m" : nullptr;
  }

  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    std::string line(buffer.data(), buffer.size());
    const char* start = ::isatty(STDERR_FILENO) != 0 ? colour(message.level) : nullptr;
    if (start != nullptr) line = start + line.substr(0, line.size() - 1) + "\x1b[0m\n";
    clear_terminal_line();
    write_stderr(line);
  }

  void flush_() override {}
};

// Appends to a file, if there is one; a line reaches the kernel before log_*() returns.
class FileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  FileSink() : base_sink(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%d %H:%M:%S %l %v")) {}

  void open(const std::filesystem::path& path) {
    auto file =
        path.empty() ? nullptr : std::make_unique<Descriptor>(path, O_WRONLY | O_CREAT | O_APPEND, "append");
    const std::lock_guard lock(mutex_);
    file_ = std::move(file);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (file_ == nullptr) return;
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    try {
      file_->write_all(std::string_view(buffer.data(), buffer.size()));
    } catch (const std::exception& e) {
      // A full disk must not end a run through its log file; say it once.
      file_.reset();
      write_stderr(std::string("log file given up: ") + e.what() + "\n");
    }
  }

  void flush_() override {}

  std::unique_ptr<Descriptor> file_;
};

struct Log {
  std::shared_ptr<FileSink> file = std::make_shared<FileSink>();
  std::shared_ptr<StderrSink> shown = std::make_shared<StderrSink>();
  spdlog::logger logger{"r1", {shown, file}};
};

Log& the_log() {
  static Log log;
  return log;
}

void write(spdlog::level::level_enum level, const std::string& text) {
  the_log().logger.log(spdlog::source_loc{}, level, spdlog::string_view_t(text));
}

}  // namespace

void log_debug(const std::string& text) { write(spdlog::level::debug, text); }
void log_info(const std::string& text) { write(spdlog::level::info, text); }
void log_warning(const std::string& text) { write(spdlog::level::warn, text); }
void log_error(const std::string& text) { write(spdlog::level::err, text); }

void set_log_level(LogLevel level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  the_log().logger.set_level(kLevels[static_cast<int>(level)]);
}

void set_log_to_stderr(bool shown) { the_log().shown->set_level(shown ? spdlog::level::trace : spdlog::level::off); }

void set_log_file(const std::filesystem::path& file) { the_log().file->open(file); }

}  // namespace r1
