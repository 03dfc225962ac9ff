#include "sandbox_wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace r1::sandbox {
namespace {

bool send_all(int socket, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(socket, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    data += sent;
    size -= size_t(sent);
  }
  return true;
}

bool receive_all(int socket, char* data, size_t size) {
  while (size > 0) {
    const ssize_t got = recv(socket, data, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    data += got;
    size -= size_t(got);
  }
  return true;
}

}  // namespace

bool send_message(int socket, char kind, std::string_view bytes) {
  Writer head;
  head.number(int64_t(bytes.size()));
  head.bytes += kind;
  return send_all(socket, head.bytes.data(), head.bytes.size()) &&
         send_all(socket, bytes.data(), bytes.size());
}

bool receive_message(int socket, char& kind, std::string& bytes) {
  char head[9];
  if (!receive_all(socket, head, sizeof head)) return false;
  int64_t size = 0;
  std::memcpy(&size, head, sizeof size);
  kind = head[8];
  bytes.resize(size_t(size));
  return receive_all(socket, bytes.data(), bytes.size());
}

std::string encode(const Open& open) {
  Writer writer;
  writer.limits(open.limits);
  writer.texts(open.fork_server);
  writer.texts(open.names);
  writer.texts(open.contents);
  return writer.bytes;
}

Open decode_open(std::string_view bytes) {
  Reader reader(bytes);
  Open open;
  open.limits = reader.limits();
  open.fork_server = reader.texts();
  open.names = reader.texts();
  open.contents = reader.texts();
  return open;
}

std::string encode(const SandboxRun& run) {
  Writer writer;
  writer.limits(run.limits);
  writer.texts(run.argv);
  writer.text(run.input);
  writer.text(run.secret);
  writer.number(run.may_fork);
  return writer.bytes;
}

SandboxRun decode_run(std::string_view bytes) {
  Reader reader(bytes);
  SandboxRun run;
  run.limits = reader.limits();
  run.argv = reader.texts();
  run.input = reader.text();
  run.secret = reader.text();
  run.may_fork = reader.number() != 0;
  return run;
}

std::string encode(const RunResult& result) {
  Writer writer;
  writer.text(result.error);
  for (const int64_t value : {int64_t(result.result.stop), int64_t(result.result.exit_code),
                              int64_t(result.result.signal), result.result.peak_memory_bytes})
    writer.number(value);
  writer.real(result.result.cpu_seconds);
  writer.real(result.result.wall_seconds);
  writer.text(result.result.out);
  writer.text(result.result.err);
  return writer.bytes;
}

RunResult decode_run_result(std::string_view bytes) {
  Reader reader(bytes);
  RunResult out;
  out.error = reader.text();
  out.result.stop = SandboxStop(reader.number());
  out.result.exit_code = int(reader.number());
  out.result.signal = int(reader.number());
  out.result.peak_memory_bytes = reader.number();
  out.result.cpu_seconds = reader.real();
  out.result.wall_seconds = reader.real();
  out.result.out = reader.text();
  out.result.err = reader.text();
  return out;
}

bool ends_within(pid_t pid, double seconds) {
  const int handle = int(syscall(SYS_pidfd_open, pid, 0));
  if (handle < 0) return false;
  pollfd fd = {handle, POLLIN, 0};
  const bool ended = poll(&fd, 1, int(seconds * 1000)) > 0;
  close(handle);
  return ended;
}

}  // namespace r1::sandbox
