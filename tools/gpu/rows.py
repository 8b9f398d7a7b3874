"""What the parts of tools/gpu/check share: rows of PASS and FAIL, runs of a program, the demo and the picture that it writes."""
import hashlib
import pathlib
import shutil
import tempfile

import machine
from machine import run

MIB = 2**20


class Check:
    """The programs, a folder for files, the rows so far."""

    def __init__(self, options):
        self.bin, libraries = machine.programs(options.build)
        self.device, self.record = options.device, options.record
        self.env = machine.environment(libraries)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kino-check-"))
        self.env["XDG_CACHE_HOME"] = self.env["XDG_CONFIG_HOME"] = str(self.folder)
        self.rows, self.part = [], ""
        self.log = open(pathlib.Path(options.log) / "check.log", "w") if options.log else None

    def row(self, name, ok, words):
        self.rows.append((ok, f"{self.part}/{name}", words))
        print(f"{'PASS' if ok else 'FAIL'} {self.part + '/' + name:34s} {words}", flush=True)

    def note(self, text):
        if self.log:
            self.log.write(text + "\n")
            self.log.flush()

    def program(self, name, *args, limit=120, env=None, **how):
        done = run([self.bin / name, *args], dict(self.env, **(env or {})), limit, **how)
        self.note(f"$ {name} {' '.join(map(str, args))}\n{done.out}{done.err}status {done.status}, {done.seconds:.2f} s")
        return done

    def kino(self, *args, **how):
        return self.program("kino", *args, **how)

    def must(self, name, condition, words, done=None):
        """A row, with the end of the program's output below it when it fails."""
        self.row(name, bool(condition), words)
        if not condition and done:
            print("    " + done.tail().replace("\n", "\n    "), flush=True)
        return bool(condition)


def demo(c, out, *args, cache="none", command="run", device=None, **how):
    return c.kino(command, "tools/gpu/demo.lua", "--models", "graphs/demo", "--cache", cache, "--json", "--out", c.folder / out,
                  "--device", device or c.device, *args, **how)


def picture(c, name):
    import numpy
    from PIL import Image
    return numpy.asarray(Image.open(c.folder / name).convert("RGB")).astype(numpy.float64)


def psnr(c, a, b):
    import numpy
    d = numpy.mean((picture(c, a) - picture(c, b)) ** 2)
    return 99.0 if d == 0 else 10 * numpy.log10(255**2 / d)


def same(c, a, b):
    return hashlib.sha256(picture(c, a).tobytes()).digest() == hashlib.sha256(picture(c, b).tobytes()).digest()


def made(c, name, done, out):
    """A row for a run that must have worked; its seconds."""
    ok = done.status == 0 and (c.folder / out).exists()
    end = [e for e in done.events() if e["event"] == "done"]
    return c.must(name, ok and end, f"{end[0]['seconds']:.2f} s of {done.seconds:.2f}" if end else f"status {done.status}", done)
