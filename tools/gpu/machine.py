"""What tools/gpu/check and tools/gpu/bench share: the programs (packed by tools/gpu/pack, or built here), the libraries that are
with the card, running a program under a limit, what the driver says of the card and of a process.
"""
import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GIB = 2**30


class Failed(Exception):
    """A check that did not hold; the message says what."""


def programs(build=None):
    """The folder of the programs and their own libraries' folder (or None). .gpu/pack.tar.xz is unpacked once a machine."""
    pack = ROOT / ".gpu" / "pack.tar.xz"
    if build:
        return pathlib.Path(build).resolve(), None
    if not pack.exists():
        return ROOT / "build", None
    s = pack.stat()
    to = pathlib.Path("/tmp") / f"kino-gpu-{s.st_size}-{s.st_mtime_ns}"
    if not to.exists():
        part = to.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        with tarfile.open(pack, "r:xz") as t:
            t.extractall(part, filter="tar")
        part.rename(to)
    root = pathlib.Path("/tmp/kino-root")          # where the packed tests look for their data
    if not root.is_symlink() or root.resolve() != ROOT:
        root.unlink(missing_ok=True)
        root.symlink_to(ROOT)
    return to / "bin", to / "lib"


def cuda_folders():
    """Where cuBLASLt, cuDNN and what they load are: beside torch first, so that both sides of a comparison use the same ones."""
    places = [f"{p}/nvidia/*/lib" for p in sys.path if p.endswith("packages")]
    places += ["/usr/local/cuda/lib64", "/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/x86_64-linux/lib", "/usr/lib/x86_64-linux-gnu"]
    folders = []
    for wanted in ("libcublasLt.so.13", "libcudnn.so.9", "libnvrtc.so.13", "libcupti.so.13"):
        found = [f for place in places for f in sorted(glob.glob(f"{place}/{wanted}"))]
        if found and os.path.dirname(found[0]) not in folders:
            folders.append(os.path.dirname(found[0]))
    return folders


def environment(libraries):
    env = dict(os.environ)
    folders = ([str(libraries)] if libraries else []) + cuda_folders() + [f for f in env.get("LD_LIBRARY_PATH", "").split(":") if f]
    env["LD_LIBRARY_PATH"] = ":".join(folders)
    return env


def profiled(env, programs, libraries, out, window=""):
    """The environment that makes CUDA load tools/gpu/profile.c into a program; its table comes into the file out."""
    library = (libraries or programs) / "libkg_profile.so"
    if not library.exists():
        raise Failed(f"no {library}")
    return dict(env, CUDA_INJECTION64_PATH=str(library), KG_PROFILE=str(out), KG_PROFILE_WINDOW=window)


class Done:
    """How a program ended: status (negative: a signal), its output, seconds, and the most the driver charged it (MiB, or None)."""

    def __init__(self, status, out, err, seconds, most):
        self.status, self.out, self.err, self.seconds, self.most = status, out, err, seconds, most

    def tail(self, lines=15):
        """The end of what it said, without the events of its steps."""
        return "\n".join([line[:400] for line in (self.out + self.err).splitlines() if '"event":"step"' not in line][-lines:])

    def events(self):
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


class Memory:
    """What nvidia-smi says, every 50 ms, of each process."""

    def __enter__(self):
        self.most = {}
        self.process = None
        if shutil.which("nvidia-smi"):
            self.process = subprocess.Popen(["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits", "-lms", "50"],
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self.read, daemon=True).start()
        return self

    def read(self):
        for line in self.process.stdout:
            pid, _, mib = line.partition(",")
            if pid.strip().isdigit() and mib.strip().isdigit():
                self.most[int(pid)] = max(self.most.get(int(pid), 0), int(mib))

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()


class HostMemory:
    """What the kernel says of a process, about every 10 ms; MiB. peak: its largest resident set (that of getrusage begins with what
    was there before exec, which is a whole Python); own: anonymous and shared bytes at most, page-locked ones among them; mapped:
    resident pages of mapped files whose names end so."""

    def __init__(self, suffix):
        self.suffix, self.peak, self.own, self.mapped = suffix, 0.0, 0.0, 0.0

    def look(self, pid):
        kib = {words[0]: int(words[1]) for words in map(str.split, pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
               if words[0] in ("VmHWM:", "RssAnon:", "RssShmem:")}
        mapped, ours = 0, False
        for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
            if ours and line.startswith("Rss:"):
                mapped += int(line.split()[1])
            if not line.split()[0].endswith(":"):
                ours = line.endswith(self.suffix)
        self.peak = max(self.peak, kib["VmHWM:"] / 1024)
        self.own, self.mapped = max(self.own, (kib["RssAnon:"] + kib["RssShmem:"]) / 1024), max(self.mapped, mapped / 1024)

    def follow(self, p):
        while p.returncode is None:
            try:
                self.look(p.pid)
            except (OSError, LookupError, ValueError):
                pass                       # it is just ending
            time.sleep(0.01)


def run(args, env, limit=120, kill_when=None, memory=None, cwd=ROOT, host=None):
    """Runs a program to its end, or ends it (the whole group) at the limit, or when kill_when(event) says so of a line of JSON."""
    began = time.monotonic()
    p = subprocess.Popen([str(a) for a in args], env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                         start_new_session=True)
    out, err = [], []
    if memory:
        memory.most.pop(p.pid, None)       # another process may have had this number

    def end():
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def read_out():
        for line in p.stdout:
            out.append(line)
            if kill_when and line.startswith("{") and kill_when(json.loads(line)):
                end()

    readers = [threading.Thread(target=read_out), threading.Thread(target=lambda: err.extend(p.stderr))]
    if host:
        readers.append(threading.Thread(target=host.follow, args=(p,)))
    for r in readers:
        r.start()
    try:
        p.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        end()
        p.wait()
        err.append(f"ended after {limit} s\n")
    for r in readers:
        r.join()
    return Done(p.returncode, "".join(out), "".join(err), time.monotonic() - began, memory.most.get(p.pid) if memory else None)


def query(fields):
    """nvidia-smi's words about the first card, or None."""
    try:
        return subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", "0"], stdout=subprocess.PIPE, text=True,
                              check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
