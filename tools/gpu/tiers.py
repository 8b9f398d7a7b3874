"""The part `tiers` of tools/gpu/check: nodes on the host beside a card, and the host's memory for weights under --ram.

A node with device = "cpu" computes with the CPU's kernels in f32: the picture is not the card's to the bit, but near it, and the same
each time.

--ram is a budget of page-locked and anonymous bytes. With a card it holds what the process has after its start, what the libraries come
to take, what the device page-locks for itself, staging, host work, and weights that the card asks for again and that stay page-locked
meanwhile. The promises: no plan is above it; what is below the least is refused with the figure that would do; and a smaller one changes
what stays, never a bit of the result. The card's part (--vram) is made so small that weights stream, or nothing would be asked for twice.
Page-locked weights are pages of mapped files, so /proc shows them as resident pages of these maps. All else must be in the plan: what
/proc says of the process is at most that."""
import re

from machine import HostMemory
from rows import MIB, demo, made, psnr, same

F32, SMALL = ["--precision", "f32"], ["--size", "64x64", "--frames", "17", "--steps", "40"]
WEIGHTS = ".safetensors"


# ---- a node on the host ----
def node_on_host(c, node, kind):
    plan = demo(c, "plan.png", *F32, "--host", node, command="plan")
    there = [n["node"] for n in plan.events()[0]["nodes"] if n.get("device") == "cpu"] if plan.status == 0 else []
    c.must(f"{node} planned", there[:1] == [kind], f"on the host: {', '.join(there) or 'nothing'}", plan)
    runs = [made(c, f"{node} {i}", demo(c, f"{node}{i}.png", *F32, "--host", node), f"{node}{i}.png") for i in (1, 2)]
    if all(runs):
        figure = psnr(c, "card.png", f"{node}1.png")
        c.must(f"{node} like the card", figure >= 40, f"PSNR {figure:.1f} dB, at least 40")
        c.must(f"{node} twice the same bits", same(c, f"{node}1.png", f"{node}2.png"), "")


# ---- --ram ----
def planned(c, *args):
    """(the plan, or None; the program's end)"""
    done = demo(c, "plan.png", *SMALL, *args, command="plan")
    return (done.events()[0] if done.status == 0 else None), done


def least(c, option, *args):
    """The smallest budget that the program itself says would do, and holds to: a size, and the plan under it."""
    size = "1M"
    for tries in range(6):
        plan, done = planned(c, *args, option, size)
        if plan:
            c.must(f"least {option}", tries > 0, f"{size}, as the {'refusal' if tries == 1 else f'refusal number {tries}'} says")
            return size, plan
        hint = re.search(rf"{option} (\d+M) would do", done.err)
        words = f"status {done.status}, {hint[0] if hint else 'no figure'}"
        if not c.must(f"{option} {size} refused", done.status == 3 and hint, words, done):
            break
        size = hint[1]
    return None, None


def tighter(c, option, size, plan, *args, spare=0):
    """From what is said to do, which has some MiB to spare, down to the least, and up again by `spare`: the demo's weights are few."""
    sizes = [(size, plan)]
    while plan:
        size = f"{int(size[:-1]) - 1}M"
        plan, _ = planned(c, *args, option, size)
        if plan:
            sizes.append((size, plan))
    return sizes[max(0, len(sizes) - 1 - spare)]


def under(c, name, ram, cap):
    """One run: what it mapped of the weights, or None."""
    out, host = f"ram {name}.png", HostMemory(WEIGHTS)
    limit = ["--ram", ram] if ram else []
    done = demo(c, out, *SMALL, "--vram", cap, *limit, host=host)
    plan = [e for e in done.events() if e["event"] == "plan"]
    if not made(c, f"ram {name}", done, out) or not plan:
        return None
    peak = plan[0]["peak"]["host"] / MIB
    if ram:
        c.must(f"ram {name} holds", peak <= int(ram[:-1]), f"{peak:.1f} MiB planned of {ram[:-1]}")
    c.must(f"ram {name} as planned", 0 < host.own <= peak,
           f"planned on the host {peak:.1f} MiB; its own {host.own:.1f}; weights mapped {host.mapped:.1f}; peak resident set {host.peak:.0f}")
    c.must(f"ram {name}, the same bits", same(c, "small.png", out), "")
    return host.mapped


def ram_tier(c):
    whole = demo(c, "small.png", *SMALL)
    if not made(c, "no cap", whole, "small.png"):
        return
    cap, plan = least(c, "--vram")
    cap, plan = tighter(c, "--vram", cap, plan)
    streams = [f"{s['node']} {s['bytes'] / MIB:.0f} MiB" for s in plan["steps"] if s["step"] == "STREAM"] if plan else []
    if not plan or not c.must("weights stream", streams, f"with --vram {cap}: {', '.join(streams)}"):
        return
    ram, tight = least(c, "--ram", "--vram", cap)
    if not tight:
        return
    ram, tight = tighter(c, "--ram", ram, tight, "--vram", cap, spare=1)
    free, lean = plan["peak"]["host"] / MIB, tight["peak"]["host"] / MIB
    if not c.must("weights stay", free >= lean + 1, f"planned on the host: {free:.1f} MiB, {lean:.1f} with --ram {ram}"):
        return
    mapped = [under(c, name, size, cap) for name, size in (("least", ram), ("half", f"{int((free + lean) / 2)}M"), ("free", None))]
    if None not in mapped:
        words = ", ".join(f"{m:.1f}" for m in mapped)
        c.must("less --ram, less stays", mapped[0] < mapped[1] < mapped[2], f"{words} MiB of weights mapped")


def tiers(c):
    if made(c, "all on the card", demo(c, "card.png", *F32), "card.png"):
        for node, kind in (("text", "text.umt5"), ("decoder", "wan.decode")):
            node_on_host(c, node, kind)
    ram_tier(c)
