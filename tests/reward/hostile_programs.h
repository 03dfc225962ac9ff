#pragma once
#include <string>
#include <vector>

#include "r1/reward/sandbox.h"

namespace r1 {

/// A Python program that attacks, and how its run must end. On a busy machine the clock can be faster than
/// CPU time. Whatever it prints, "ESCAPED" must not be in it.
struct Hostile {
  const char* name;
  const char* program;
  std::vector<SandboxStop> ends;  ///< empty: any
  const char* says = "";          ///< a text that stdout must hold
};

/// Before each program: attempt(name, f) prints ESCAPED when f() does not raise; call(number, ...) is a raw
/// system call that raises OSError; MARK is the name of a file that must be found nowhere afterwards.
constexpr const char* kHostilePrelude = R"python(
import ctypes, os, signal, socket, sys, threading, time
MARK = 'r1_hostile_mark'
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return result
def call(number, *args):
    if os.uname().machine != 'x86_64':
        raise OSError('the numbers are those of x86-64')
    return check(libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in args]))
def attempt(name, f):
    try:
        f()
    except (OSError, ValueError, MemoryError) as error:
        print('stopped', name, type(error).__name__, flush=True)
    else:
        print('ESCAPED', name, flush=True)
def write(path):
    with open(path, 'w') as file:
        file.write('x')
)python";

inline const std::vector<Hostile>& hostile_programs() {
  using enum SandboxStop;
  static const std::vector<Hostile> programs = {
      // processes
      {"ForkBomb",
       "while True:\n  try: os.fork()\n  except OSError: pass",
       {kCpuLimit, kWallLimit, kProcessLimit, kSignal}},
      {"ForkBombOfOrphans",
       "def go():\n  while True:\n    try:\n      if os.fork() == 0: os.setsid()\n      else: os._exit(0)\n  "
       "  except OSError: pass\n"
       "for _ in range(8):\n  if os.fork() == 0: go()\ntime.sleep(60)",
       {kCpuLimit, kWallLimit, kProcessLimit, kSignal, kExited}},
      {"ThreadBomb",
       "made = 0\ntry:\n  while True:\n    threading.Thread(target=time.sleep, args=(60,), "
       "daemon=True).start(); made += 1\n"
       "except RuntimeError: pass\nprint('ESCAPED' if made > 100 else 'threads refused', "
       "flush=True)\nos._exit(0)",
       {kExited},
       "threads refused"},
      {"DaemonLeftBehind",
       "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    for f in range(3): os.close(f)\n    "
       "time.sleep(600)\n  os._exit(0)\n"
       "os.wait(); print('parent ends')",
       {kExited},
       "parent ends"},
      {"DaemonKeepsStdout",
       "if os.fork() == 0:\n  os.setsid(); time.sleep(600)\nprint('parent ends')",
       {kExited},
       "parent ends"},
      {"NohupExec",
       "os.system('nohup setsid sleep 600 >/dev/null 2>&1 &'); print('started')",
       {kExited},
       "started"},
      // time
      {"SleepForever", "time.sleep(600)", {kWallLimit}},
      {"BusyForever", "while True: pass", {kCpuLimit, kWallLimit}},
      {"BusyIgnoringSignals",
       "for s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): "
       "pass\nwhile True: pass",
       {kCpuLimit, kWallLimit}},
      {"BusyInManyChildren",
       "for _ in range(6):\n  if os.fork() == 0:\n    while True: pass\nos.wait()",
       {kCpuLimit, kWallLimit}},
      {"BusyChildParentSleeps",
       "if os.fork() == 0:\n  os.setsid()\n  while True: pass\ntime.sleep(600)",
       {kCpuLimit, kWallLimit}},
      {"StoppedForever", "os.kill(os.getpid(), signal.SIGSTOP)", {kWallLimit}},
      {"NeverReadsStdin", "time.sleep(600)", {kWallLimit}},
      // memory
      {"MemoryAtOnce", "attempt('10 GB', lambda: bytearray(10 << 30))", {kExited, kMemoryLimit}},
      {"MemorySlowly", "x = []\nwhile True: x.append(bytearray(1 << 20))", {kExited, kMemoryLimit}},
      {"MemoryInChildren",
       "def eat():\n  x = []\n  while len(x) < 80: x.append(b'x' * (1 << 20))\n  time.sleep(600)\n"
       "for _ in range(10):\n  if os.fork() == 0: eat()\ntime.sleep(600)",
       {kMemoryLimit, kWallLimit, kCpuLimit}},
      {"MemoryShared",
       "import mmap\nx = []\nfor _ in range(10):\n  m = mmap.mmap(-1, 100 << 20)\n  x.append(m)\n  for i in "
       "range(0, 100 << 20, 4096): m[i] = 1\n"
       "print('ESCAPED')",
       {kMemoryLimit, kExited, kSignal, kCpuLimit}},
      {"MemoryInMemfd", "attempt('memfd', lambda: os.memfd_create('x'))", {kExited}},
      {"MemoryLocked", "attempt('mlockall', lambda: check(libc.mlockall(3)))", {kExited}},
      {"Segfault", "ctypes.string_at(8)", {kSignal}},
      // disk
      {"DiskOneFile", "f = open('big', 'wb')\nwhile True: f.write(b'x' * (1 << 20))", {kFileLimit, kExited}},
      {"DiskManyFiles",
       "total = 0\ntry:\n  for i in range(10**6):\n    with open(str(i), 'wb') as f: f.write(b'x' * (1 << "
       "20)); total += 1\n"
       "except OSError: pass\nprint('ESCAPED' if total > 100 else 'disk full')",
       {kExited},
       "disk full"},
      {"DiskManyNames",
       "made = 0\ntry:\n  for i in range(10**6): open(str(i), 'w').close(); made += 1\n"
       "except OSError: pass\nprint('ESCAPED' if made > 10000 else 'no more names')",
       {kExited},
       "no more names"},
      {"DiskDeletedFiles",
       "held = []\ntry:\n  for i in range(200):\n    f = open('f', 'wb', buffering=0); os.unlink('f'); "
       "f.write(b'x' * (1 << 20)); held.append(f)\n"
       "    assert f.tell() == 1 << 20\n  print('ESCAPED')\nexcept (OSError, AssertionError): print('disk "
       "full')",
       {kExited},
       "disk full"},
      {"DeepFolders",
       "try:\n  for i in range(10**5): os.mkdir('d'); os.chdir('d')\nexcept OSError: pass\nprint('end')",
       {kExited, kCpuLimit, kWallLimit}},
      // output
      {"EndlessOutput", "while True: sys.stdout.write('x' * 65536)", {kOutputLimit}},
      {"EndlessErrors", "while True: sys.stderr.write('x' * 65536)", {kOutputLimit}},
      {"EndlessOutputOfChildren",
       "for _ in range(4):\n  if os.fork() == 0:\n    while True: os.write(1, b'x' * 65536)\ntime.sleep(600)",
       {kOutputLimit}},
      {"ClosedStdout", "os.close(1); os.close(2); time.sleep(600)", {kWallLimit}},
      // signals
      {"KillParent",
       "try: os.kill(os.getppid(), 9)\nexcept OSError: pass\ntime.sleep(0.2); print('alive')",
       {kExited},
       "alive"},
      {"StopParent", "os.kill(os.getppid(), signal.SIGSTOP); time.sleep(0.2); print('end')", {}},
      {"KillAll", "os.kill(-1, 9)", {}},
      {"KillGroup", "os.killpg(0, 9)", {kSignal}},
      {"KillEveryNumber",
       "for pid in range(2, 70000):\n  try: os.kill(pid, 9) if pid != os.getpid() else None\n  except "
       "OSError: pass\nprint('end')",
       {}},
      // other processes
      {"PtraceParent", "attempt('ptrace', lambda: check(libc.ptrace(16, os.getppid(), 0, 0)))", {kExited}},
      {"PtraceTraceme", "attempt('traceme', lambda: check(libc.ptrace(0, 0, 0, 0)))", {kExited}},
      {"ReadParentMemory",
       "b = ctypes.create_string_buffer(64)\nattempt('vm_readv', lambda: call(310, os.getppid(), "
       "ctypes.byref(b), 1, ctypes.byref(b), 1, 0))",
       {kExited}},
      {"StealDescriptors", "attempt('pidfd', lambda: call(438, call(434, 1, 0), 0, 0))", {kExited}},
      {"InheritedDescriptors",
       "for fd in range(4, 5000):\n  try: os.fstat(fd); print('ESCAPED', fd)\n  except OSError: "
       "pass\nprint('end')",
       {kExited},
       "end"},
      {"LowerLimitsOfParent",
       "import resource\nattempt('prlimit', lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, "
       "1)))",
       {kExited}},
      // network
      {"TcpSocket", "attempt('tcp', lambda: socket.create_connection(('127.0.0.1', 22), 1))", {kExited}},
      {"Sockets",
       "for family in range(1, 46):\n  for kind in (1, 2, 3, 5):\n    attempt((family, kind), lambda: "
       "socket.socket(family, kind))",
       {kExited}},
      {"NameLookup", "attempt('dns', lambda: socket.getaddrinfo('example.com', 80))", {kExited}},
      {"AbstractSocketByConnect",
       "a, b = socket.socketpair()\nattempt('bind', lambda: a.bind('\\0' + MARK)); attempt('connect', "
       "lambda: a.connect('\\0x'))",
       {kExited}},
      // files
      {"ReadPrivateFiles",
       "for p in ('/etc/passwd', '/etc/shadow', '/etc/hostname', '/root', '/home', '/var/log', '/run', "
       "'/mnt', '/opt', '/srv', '/boot'):\n"
       "  attempt(p, lambda: os.listdir(p) if os.path.isdir(p) else open(p).read())",
       {kExited}},
      {"ReadTheTests",
       "secret = b'expected' + b'_output'\nfor folder, folders, names in os.walk('/'):\n"
       "  if folder == '/': folders[:] = [f for f in folders if f not in ('usr', 'sys', 'dev', 'proc')]\n"
       "  for name in names:\n    try:\n      with open(folder + '/' + name, 'rb') as file:\n"
       "        if secret in file.read(65536): print('ESCAPED', folder, name)\n    except OSError: pass\n"
       "print('searched')",
       {kExited},
       "searched"},
      {"ProcReads",
       "for p in ('/proc/1/environ', '/proc/1/mem', '/proc/self/mem', '/proc/kcore', "
       "'/proc/1/root/etc/passwd'):\n  attempt(p, lambda: open(p, 'rb').read(1))",
       {kExited}},
      {"ProcAndSysWrites",
       "for p in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/self/oom_score_adj', "
       "'/proc/sys/vm/drop_caches',\n"
       "          '/sys/kernel/mm/ksm/run', '/sys/fs/cgroup/x', '/sys/power/state', '/dev/kmsg', '/dev/mem', "
       "'/dev/vda'):\n  attempt(p, lambda: write(p))",
       {kExited}},
      {"SystemWrites",
       "for p in ('/', '/usr', '/usr/bin', '/usr/lib', '/bin', '/lib', '/etc', '/dev', '/var/tmp', '/run', "
       "os.path.dirname(os.__file__)):\n  attempt(p, lambda: write(p + '/' + MARK))\n"
       "attempt('unlink', lambda: os.unlink(os.__file__)); attempt('chmod', lambda: os.chmod(os.__file__, "
       "0o777)); attempt('rename', lambda: os.rename('/usr', '/x'))",
       {kExited}},
      {"SymlinkOut",
       "os.symlink('/etc', 'e'); attempt('read', lambda: open('e/passwd').read())\nos.symlink('/usr/bin', "
       "'b'); attempt('write', lambda: write('b/' + MARK))\n"
       "os.symlink('../../../../../../root', 'r'); attempt('list', lambda: os.listdir('r'))",
       {kExited}},
      {"HardLinkOut", "attempt('link', lambda: os.link(sys.executable, 'x'))", {kExited}},
      {"ChrootOut",
       "def go():\n  os.mkdir('c'); os.chroot('c')\n  for _ in range(50): os.chdir('..')\n  "
       "os.listdir('root')\nattempt('chroot', go)",
       {kExited}},
      {"HiddenFiles",
       "for p in ('/tmp', '/dev/shm', '.'):\n  try: write(p + '/' + MARK)\n  except OSError: "
       "pass\nprint('written')",
       {kExited},
       "written"},
      {"OpenEveryDescriptor",
       "held = []\ntry:\n  while True: held.append(os.open('/dev/null', 0))\nexcept OSError: print('ESCAPED' "
       "if len(held) > 5000 else 'end')",
       {kExited},
       "end"},
      // rights
      {"Setuid",
       "attempt('setuid', lambda: os.setuid(0)); attempt('setresuid', lambda: os.setresuid(0, 0, 0)); "
       "attempt('setgid', lambda: os.setgid(0))\n"
       "attempt('setgroups', lambda: os.setgroups([0]))",
       {kExited}},
      {"SetuidProgram",
       "def go():\n  open('s', 'w').close(); os.chmod('s', 0o4755)\n  r = os.popen('su -c id root 2>&1 "
       "</dev/null; mount 2>&1').read()\n  if 'uid=0' not in r: raise OSError(1, r)\nattempt('su', go)",
       {kExited}},
      {"Mounts",
       "for i, args in enumerate([(b't', b'/tmp', b'tmpfs', 0), (b'p', b'/tmp', b'proc', 0), (b'/', b'/tmp', "
       "b'', 4096), (b'', b'/', b'', 32), (b'', b'/usr', b'', 4128)]):\n"
       "  attempt(('mount', i), lambda: check(libc.mount(*args, None)))\nattempt('umount', lambda: "
       "check(libc.umount2(b'/tmp', 2))); attempt('fsopen', lambda: call(430, b'tmpfs', 0))\n"
       "attempt('open_tree', lambda: call(428, -100, b'/', 1)); attempt('pivot_root', lambda: call(155, "
       "b'.', b'.'))",
       {kExited}},
      {"NewNamespaces",
       "for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000):\n  "
       "attempt(('unshare', flag), lambda: check(libc.unshare(flag)))\n"
       "  attempt(('clone', flag), lambda: call(56, flag | 17, 0, 0, 0, 0))\n"
       "size = ctypes.create_string_buffer(88)\nsize[0:8] = (0x10000000).to_bytes(8, "
       "'little')\nattempt('clone3', lambda: call(435, size, 88)); attempt('setns', lambda: call(308, 0, 0))",
       {kExited}},
      {"DeviceNodes",
       "attempt('mknod', lambda: os.mknod('d', 0o60666, os.makedev(254, 0))); attempt('char', lambda: "
       "os.mknod('m', 0o20666, os.makedev(1, 1)))",
       {kExited}},
      {"RaiseLimits",
       "import resource\nfor what in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, "
       "resource.RLIMIT_NOFILE):\n  attempt(what, lambda: resource.setrlimit(what, (resource.RLIM_INFINITY,) "
       "* 2))\n"
       "attempt('nice', lambda: os.nice(-20))",
       {kExited}},
      {"KernelCalls",
       "for name, args in {'bpf': (321, 0, 0, 0), 'perf': (298, 0, 0, -1, -1, 0), 'userfaultfd': (323, 0), "
       "'io_uring': (425, 8, 0), 'keyctl': (250, 0, 0), 'add_key': (248, 0, 0, 0, 0, 0),\n"
       "                   'kexec': (246, 0, 0, 0, 0), 'reboot': (169, 0, 0, 0, 0), 'swapon': (167, 0, 0), "
       "'init_module': (175, 0, 0, 0), 'settimeofday': (164, 0, 0), 'sethostname': (170, b'x', 1),\n"
       "                   'iopl': (172, 3), 'ioperm': (173, 0, 1, 1), 'syslog': (103, 3, 0, 0), 'quotactl': "
       "(179, 0, 0, 0, 0), 'acct': (163, 0), 'personality': (135, 0x40000), 'modify_ldt': (154, 0, 0, 0),\n"
       "                   'open_by_handle': (304, 0, 0, 0), 'name_to_handle': (303, -100, b'/', 0, 0, 0), "
       "'fanotify': (300, 0, 0), 'move_pages': (279, 0, 0, 0, 0, 0, 0), 'kcmp': (312, 1, 1, 0, 0, 0),\n"
       "                   'vmsplice': (278, 1, 0, 0, 0), 'seccomp': (317, 1, 0, 0), 'landlock': (444, 0, 0, "
       "1), 'process_madvise': (440, 0, 0, 0, 0, 0)}.items():\n"
       "  attempt(name, lambda: call(*args))",
       {kExited}},
      {"IpcLeftBehind",
       "attempt('shmget', lambda: check(libc.shmget(4711, 4096, 0o1666))); attempt('semget', lambda: "
       "check(libc.semget(4711, 1, 0o1666)))\n"
       "attempt('msgget', lambda: check(libc.msgget(4711, 0o1666))); attempt('mq', lambda: call(240, b'r1', "
       "0o102, 0o666, 0))",
       {kExited}},
      {"TerminalInput",
       "import fcntl\nfor fd in (0, 1, 2):\n  attempt('TIOCSTI', lambda: fcntl.ioctl(fd, 0x5412, b'x')); "
       "attempt('TIOCLINUX', lambda: fcntl.ioctl(fd, 0x541C, b'x'))",
       {kExited}},
  };
  return programs;
}

}  // namespace r1
