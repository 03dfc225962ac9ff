#pragma once

// Programs that run inside the sandbox, around a solution.
namespace r1 {

/// Starts Python once and is forked for each test, which saves its start-up and the solution's imports.
///
/// Protocol (sandbox_init.cpp): descriptor 4 is a SOCK_SEQPACKET. Each message brings stdin, stdout, stderr
/// and the secret; the answer is "<wait status> <CPU microseconds> <peak KiB>". The server itself runs
/// nothing of the solution, and the child closes descriptor 4 before it does, so no solution can write such
/// an answer.
///
/// A secret means an assert test: 8 digits of length, the test, then the token. The token stays in the pipe
/// until the test is over.
constexpr const char* kPythonForkServer = R"python(
import sys
sys.path[:] = [folder for folder in sys.path if folder]  # before any import: a solution may have left a socket.py
import os, builtins, _socket, _sitebuiltins
sys.path += sys.argv[1:]
builtins.exit = _sitebuiltins.Quitter('exit', 'Ctrl-D')
builtins.quit = _sitebuiltins.Quitter('quit', 'Ctrl-D')
known = frozenset(b'array bisect collections copy dataclasses datetime decimal enum fractions functools heapq io itertools json math numpy operator os queue random re statistics string sys time typing'.split())
with open('solution.py', 'rb') as file:
    source = file.read()
for line in source.splitlines():
    words = line.replace(b',', b' ').split()
    if words and words[0] in (b'import', b'from'):
        for word in words[1:2] if words[0] == b'from' else words[1:]:
            if word in known:
                try:
                    __import__(word.decode())
                except ImportError:
                    pass
try:
    program = compile(source, 'solution.py', 'exec')
except BaseException:
    program = None  # the child says why

def serve(socket):
    while True:
        message, parts, _, _ = socket.recvmsg(1, 64)
        if not message:
            os._exit(0)
        fds = memoryview(parts[0][2]).cast('i').tolist()
        child = os.fork()
        if child == 0:
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
            os.closerange(4, 256)
            os.setsid()
            return
        for fd in fds:
            os.close(fd)
        _, status, use = os.wait4(child, 0)
        try:
            os.kill(-1, 9)  # the rest of the run; this process and the first one are spared
        except ProcessLookupError:
            pass
        socket.send(b'%d %d %d' % (status, (use.ru_utime + use.ru_stime) * 1e6, use.ru_maxrss))

def has_server():
    try:
        os.fstat(4)
    except OSError:
        return False  # started for one run
    return os.getppid() == 1  # outside a pid namespace that kill would be the end of everything

if has_server():
    serve(_socket.socket(fileno=4))

def load(name):
    module = type(sys)(name)
    module.__file__ = 'solution.py'
    sys.modules[name] = module
    sys.argv = ['solution.py']
    sys.path.insert(0, '')
    return module.__dict__

def run_asserts(size, read=os.read, write=os.write, leave=os._exit, compile=compile, exec=exec):
    names = load('solution')
    exec(program or compile(source, 'solution.py', 'exec'), names)
    test = b''
    while len(test) < size:
        test += read(3, size - len(test))
    exec(compile(test, 'test', 'exec'), names)
    write(1, read(3, 64))
    leave(0)

size = os.read(3, 8)
if size:
    run_asserts(int(size))
else:
    os.close(3)
    exec(program or compile(source, 'solution.py', 'exec'), load('__main__'))
)python";

/// Compiles standard input as Python and runs none of it.
constexpr const char* kPythonSyntaxCheck = "import sys; compile(sys.stdin.buffer.read(), 'test', 'exec')";

/// Around an assert test in C++: the solution's main gets out of the way, and the test's is called through
/// the C library's start function (-Wl,--wrap=__libc_start_main), so that it keeps the rules of a main.
constexpr const char* kCppBeforeSolution = "#define main r1_solution_main\n#line 1 \"solution.cpp\"\n";
constexpr const char* kCppBeforeTest = R"(
#undef main
#undef NDEBUG
#include <cassert>
#line 1 "test.cpp"
)";
constexpr const char* kCppAfterTest = R"(
#include <unistd.h>
namespace r1_harness {
using Main = int (*)(int, char**, char**);
Main test_main;
int run(int count, char** words, char** environment) {
  const int status = test_main(count, words, environment);
  char token[64];
  if (status == 0) {
    const ssize_t size = read(3, token, sizeof token);
    if (size > 0 && write(1, token, size) != size) _exit(1);
  }
  _exit(status);
}
}
extern "C" int __real___libc_start_main(r1_harness::Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
extern "C" int __wrap___libc_start_main(r1_harness::Main test, int count, char** words, void (*init)(), void (*fini)(),
                                        void (*loader)(), void* stack) {
  r1_harness::test_main = test;
  return __real___libc_start_main(r1_harness::run, count, words, init, fini, loader, stack);
}
)";

}  // namespace r1
