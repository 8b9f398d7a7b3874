#!/usr/bin/env python3
"""The proof by mutation: each numeric trap of Wan is built in on purpose, and a golden must see it.

    python3 tools/golden/mutate.py [--work DIR] [--write] [TRAP ...]        (default: all traps, DIR /tmp/kinograph-mutate)

Copies the tree, builds the golden tests once, notes our own errors; then for each trap (traps.py: one text replaced in one file)
builds again, runs the test that guards it and restores the file. A trap counts as seen when the test fails by a figure: the error of
the golden it names is above the test's limit. The text of a trap must occur exactly once: a trap that no longer fits its source is
reported, not skipped. --write puts the table into tests/golden/README.md. No packages needed; about ten minutes on two cores.
"""
import argparse
import math
import pathlib
import re
import shutil
import subprocess
import sys

from traps import TRAPS

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = re.compile(r"^golden (\S+) (\S+) error (\S+) limit (\S+)$", re.M)
SKIP = {".git", "graphs"}
MARK = "<!-- made by tools/golden/mutate.py -->"


def sync(source, target):
    """Copies what changed and removes what is gone, so that a second run builds little."""
    names = {p.name for p in source.iterdir() if p.name not in SKIP and not (p.is_dir() and p.name.startswith("build"))}
    for path in target.iterdir():
        if path.name not in names and path.is_file():
            path.unlink()
    for name in names:
        path, to = source / name, target / name
        if path.is_dir():
            to.mkdir(parents=True, exist_ok=True)
            sync(path, to)
        elif not to.exists() or to.read_bytes() != path.read_bytes():
            shutil.copyfile(path, to)


def command(args, **options):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


class Tree:
    def __init__(self, work):
        self.source, self.build = work / "source", work / "build"
        self.source.mkdir(parents=True, exist_ok=True)
        sync(ROOT, self.source)
        lists = self.source / "CMakeLists.txt"
        lists.write_text(lists.read_text().replace("-Werror", ""))  # a trap may leave a variable unused
        done = command(["cmake", "-G", "Ninja", "-S", self.source, "-B", self.build, "-DCMAKE_BUILD_TYPE=Release"])
        if done.returncode:
            sys.exit(done.stdout)

    def run(self, test):
        """Builds and runs a test: {(golden, tensor): (error, limit)}, or None and what the compiler said."""
        built = command(["ninja", "-C", self.build, f"nodes_{test}"])
        if built.returncode:
            return None, built.stdout[-3000:]
        try:
            ran = command([self.build / f"nodes_{test}"], cwd=self.build, timeout=300)
        except subprocess.TimeoutExpired:
            return None, "the test did not end"
        return {(g, t): (float(e), float(limit)) for g, t, e, limit in LINE.findall(ran.stdout)}, ran.stdout[-3000:]


def seen(figures, trap):
    """The figure of the trap's golden that is furthest above its limit."""
    rows = [(e, limit, tensor) for (golden, tensor), (e, limit) in figures.items() if golden == trap.golden]
    return max(rows, key=lambda r: math.inf if math.isnan(r[0]) else r[0] / r[1], default=None)


def attempt(tree, trap, ours):
    """One row of the table, or the reason why there is none."""
    path = tree.source / trap.file
    text = path.read_text()
    broken = text
    for old, new in trap.edits:
        if text.count(old) != 1:
            return None, f"its text occurs {text.count(old)} times in {trap.file}"
        broken = broken.replace(old, new)
    path.write_text(broken)
    try:
        figures, said = tree.run(trap.test)
    finally:
        path.write_text(text)
    worst = seen(figures, trap) if figures else None
    if not worst:
        return None, said
    error, limit, tensor = worst
    own = ours[trap.golden, tensor][0]
    if error <= limit:
        return None, f"not seen: {trap.golden} {tensor} error {error:.1e}, limit {limit:.1e}"
    return (trap, tensor, error, own, limit), None


def table(rows):
    out = [MARK, "", "| trap | where | golden | its error | our error | ratio |", "|---|---|---|---|---|---|"]
    for trap, tensor, error, own, _ in rows:
        ratio = error / own if own else math.inf
        out.append(f"| {trap.name}: {trap.what} | {trap.file} | {trap.golden} `{tensor}` | {error:.1e} | {own:.1e} | {ratio:,.0f} |")
    weakest = {}
    for trap, tensor, error, own, limit in rows:
        if trap.golden not in weakest or error < weakest[trap.golden][0]:
            weakest[trap.golden] = (error, trap.name, limit)
    out += ["", "| golden | its weakest trap | error | limit of the test |", "|---|---|---|---|"]
    out += [f"| {g} | {name} | {error:.1e} | {limit:.0e} |" for g, (error, name, limit) in sorted(weakest.items())]
    return "\n".join(out + ["", MARK])


def write(text):
    path = ROOT / "tests" / "golden" / "README.md"
    before, _, after = path.read_text().split(MARK)
    path.write_text(before + text + after)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/kinograph-mutate"))
    p.add_argument("--write", action="store_true")
    p.add_argument("traps", nargs="*")
    a = p.parse_args()
    traps = [t for t in TRAPS if not a.traps or t.name in a.traps]
    tree, ours = Tree(a.work), {}
    for test in sorted({t.test for t in traps}):
        figures, said = tree.run(test)
        if not figures or any(not e <= limit for e, limit in figures.values()):
            sys.exit(f"{test} does not pass without a trap:\n{said}")
        ours.update(figures)
    rows, failures = [], 0
    for trap in traps:
        row, why = attempt(tree, trap, ours)
        rows += [row] if row else []
        failures += not row
        print(f"{'seen' if row else 'FAIL'}  {trap.name:24s} {f'{row[2]:.1e} (ours {row[3]:.1e})' if row else why}", flush=True)
    print(f"{len(rows)} of {len(traps)} traps seen")
    if a.write:
        write(table(rows))
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
