#include "r1/util/jsonl.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "descriptor.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1 {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Hands on one line at a time, so that a file may be larger than the memory.
class LineReader {
 public:
  explicit LineReader(const fs::path& file) {
    if (file.extension() == ".zst") {
      buffer_ = read_zstd(file);
      size_ = buffer_.size();
    } else {
      std::error_code error;
      if (fs::is_directory(file, error)) throw_system_error(file, "read", EISDIR);
      in_ = std::make_unique<Descriptor>(file, O_RDONLY, "read");
      size_ = fs::file_size(file, error);
      if (error) size_ = 0;  // a pipe
    }
  }

  /// False at the end of the file.
  bool next(std::string_view& line) {
    size_t newline = buffer_.find('\n', begin_);
    while (newline == std::string::npos && fill()) newline = buffer_.find('\n', searched_);
    if (begin_ == buffer_.size()) return false;
    ended_ = newline != std::string::npos;
    const size_t end = ended_ ? newline : buffer_.size();
    line = std::string_view(buffer_).substr(begin_, end - begin_);
    const size_t next = ended_ ? end + 1 : end;
    read_ += next - begin_;
    begin_ = next;
    return true;
  }
  double part() const { return size_ == 0 ? 0 : std::min(1.0, static_cast<double>(read_) / static_cast<double>(size_)); }
  bool line_ended() const { return ended_; }  ///< the last line of next() had its newline

 private:
  // Reads the next chunk behind the unfinished line; false at the end.
  bool fill() {
    if (in_ == nullptr) return false;
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched_ = buffer_.size();
    buffer_.resize(searched_ + kChunk);
    const size_t got = in_->read_some(buffer_.data() + searched_, kChunk);
    buffer_.resize(searched_ + got);
    return got > 0;
  }

  static constexpr size_t kChunk = size_t{1} << 18;
  std::unique_ptr<Descriptor> in_;
  std::string buffer_;
  size_t begin_ = 0, searched_ = 0;
  uint64_t size_ = 0, read_ = 0;
  bool ended_ = true;
};

std::string excerpt(std::string_view line) {
  const json quoted = std::string(line.substr(0, 40));
  return quoted.dump(-1, ' ', true, json::error_handler_t::replace) + (line.size() > 40 ? "..." : "");
}

}  // namespace

void read_jsonl(const fs::path& file, const std::function<void(int64_t, const json&)>& row) {
  read_jsonl_lines(file, [&](const JsonLine& line) { row(line.number, line.value); });
}

void read_jsonl_lines(const fs::path& file, const std::function<void(const JsonLine&)>& row) {
  LineReader reader(file);
  std::string_view line;
  int64_t number = 0, rows = 0;
  while (reader.next(line)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    json value;
    try {
      value = json::parse(line.begin(), line.end());
    } catch (const json::parse_error& e) {
      throw Error(cat(file.string(), ":", number, ": no JSON at byte ", e.byte, ": ", excerpt(line),
                      "; accepted: one JSON object per line.\n  ",
                      reader.line_ended()
                          ? "Correct or remove the line."
                          : "The file ends in this line: was its copy or its writer cut off?"));
    } catch (const json::exception& e) {
      throw Error(cat(file.string(), ":", number, ": ", e.what(), ": ", excerpt(line)));
    }
    if (!value.is_object()) {
      throw Error(cat(file.string(), ":", number, ": is ", value.type_name(), ": ", excerpt(line),
                      "; accepted: one JSON object per line, for example {\"question\": \"...\"}."));
    }
    ++rows;
    row({number, value, line, reader.part()});
  }
  if (rows == 0) {
    throw Error(cat(file.string(), ": holds no row; accepted: at least one JSON object, one per line.\n  ",
                    "The file is empty or has blank lines only."));
  }
}

JsonlWriter::JsonlWriter(const fs::path& file)
    : out_(std::make_unique<Descriptor>(file, O_RDWR | O_CREAT | O_APPEND, "append")) {
  struct stat status;
  if (::fstat(out_->fd(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) return;
  // A process killed in the middle of a write leaves half a line, which would swallow the next row.
  const std::string text = read_file(file);
  if (text.back() == '\n') return;
  const size_t begin = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (json::accept(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end())) {
    out_->write_all("\n");
    return;
  }
  log_warning(
      cat(file.string(), ": dropped its last line, which was cut off: ", excerpt(text.substr(begin))));
  if (::ftruncate(out_->fd(), static_cast<off_t>(begin)) != 0) throw_system_error(file, "shorten", errno);
}

JsonlWriter::~JsonlWriter() = default;
JsonlWriter::JsonlWriter(JsonlWriter&&) noexcept = default;
JsonlWriter& JsonlWriter::operator=(JsonlWriter&&) noexcept = default;

void JsonlWriter::write(const json& row) {
  const std::string line = row.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  struct stat before;
  const bool regular = ::fstat(out_->fd(), &before) == 0 && S_ISREG(before.st_mode);
  try {
    out_->write_all(line);
  } catch (const Error&) {
    if (regular && ::ftruncate(out_->fd(), before.st_size) != 0) {
      log_warning(cat(out_->path().string(), ": the last line may be cut off: ", system_reason(errno)));
    }
    throw;
  }
}

}  // namespace r1
