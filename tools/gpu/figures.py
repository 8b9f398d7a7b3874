"""The part `prompts` of tools/gpu/check: does the demo model do on the card what prompts say, as often as on the CPU?

256 prompts of tuples that training never saw and 256 of seen ones (tools/demo_model/evaluate.py, its prompts and seeds, the demo's
steps and guidance), judged by tools/demo_model/checker.py: colour, direction, shape, background, and all four. The CPU's verdicts in
f32, prompt by prompt, are in cpu_figures.json: a hexadecimal digit a prompt, a bit for each of the four. They are made anew by
`tools/gpu/check --device cpu --record prompts` (20 minutes on two cores) when the model, the prompts or the checker change.

The bar: "not worse than the CPU beyond chance". Both devices get the same prompts and the same noise, so verdicts are compared in
pairs, as McNemar's test does: prompts on which both agree say nothing; of the n on which they differ, chance gives each side half, so
that (right on the CPU alone) - (right on the card alone) has mean 0 and deviation sqrt(n). More than 2.6 deviations happen once in
200 times. So the card must have at least the CPU's count - 2.6 sqrt(n) prompts right, for each figure of each set.
"""
import hashlib
import json
import math
import pathlib
import sys

from machine import Failed, ROOT

sys.path.insert(0, str(ROOT / "tools" / "demo_model"))
CPU = pathlib.Path(__file__).resolve().parent / "cpu_figures.json"
SETS, COUNT, DEVIATIONS = ("unseen", "seen"), 256, 2.6
BITS = ("colour", "direction", "shape", "background")


def digest(asked):
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def passed(digits, figure):
    """[bool] of a figure from a digit a prompt."""
    mask = 15 if figure == "all" else 1 << BITS.index(figure)
    return [int(d, 16) & mask == mask for d in digits]


def judged(c, which, asked):
    """One run for the whole set; a digit a prompt."""
    import checker
    import engine
    import evaluate
    texts, rows, seeds = zip(*asked)
    folder = c.folder / which
    folder.mkdir()
    done = c.kino(*engine.arguments(folder, texts, seeds), "--device", c.device, cwd=folder, limit=240 if c.device != "cpu" else 3600)
    said = [line for line in done.err.splitlines() if "nodes to run" in line or line.startswith("done in")]
    if not c.must(which, done.status == 0, f"{len(asked)} prompts, {done.seconds:.1f} s; {'; '.join(said)}", done):
        return None
    marks = [checker.right(v, row) for v, row in zip(evaluate.judge_all(engine.frames(folder, len(asked))), rows)]
    return "".join(f"{sum(m[k] << i for i, k in enumerate(BITS)):x}" for m in marks)


def counts(digits):
    return ", ".join(f"{figure} {sum(passed(digits, figure))}" for figure in (*BITS, "all"))


def compare(c, which, ours, cpu):
    for figure in (*BITS, "all"):
        a, b = passed(ours, figure), passed(cpu, figure)
        differ = sum(x != y for x, y in zip(a, b))
        least = sum(b) - DEVIATIONS * math.sqrt(differ)
        c.must(f"{which} {figure}", sum(a) >= least, f"{sum(a)} of {len(a)} right ({100 * sum(a) / len(a):.1f} %), on the CPU {sum(b)}; "
               f"they differ on {differ}, at least {math.ceil(least)} wanted")


def record(c, found, asked):
    if c.device != "cpu":
        raise Failed("--record keeps what the CPU does: --device cpu")
    if all(found.values()):
        CPU.write_text(json.dumps({"prompts": digest(asked), **found}, indent=0) + "\n")
        c.row("recorded", True, "; ".join(f"{which}: {counts(found[which])}" for which in SETS))


def prompts(c):
    import evaluate
    asked = {which: evaluate.prompts(which, COUNT) for which in SETS}
    cpu = None if c.record else json.loads(CPU.read_text())
    if cpu and cpu["prompts"] != digest(asked):
        raise Failed(f"{CPU.name} is of other prompts: make it anew")
    found = {which: judged(c, which, asked[which]) for which in SETS}
    if c.record:
        return record(c, found, asked)
    for which in SETS:
        if found[which]:
            compare(c, which, found[which], cpu[which])
