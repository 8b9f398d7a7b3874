"""A part of tools/gpu/check: NaN in a model's file ends a run on the card. Node, step, op and weight are named, no picture is written, no
latent of it is kept, and the repaired file gives the picture that it gave before."""
import json
import shutil
import struct

from rows import MIB, same

NAN = b"\xc0\x7f"                      # bf16
CASES = [("wan_demo-00001-of-00002.safetensors", "blocks.1.ffn.2.bias", "wan.sample", " > block 1 > ffn", "linear: "),
         ("umt5_demo.safetensors", "blocks.1.ffn.fc2.weight", "text.umt5", " > layer 1 > ffn", "linear: "),
         ("wan_demo_vae.safetensors", "decoder.conv1.bias", "wan.decode", " > frame 0 > ", "conv: ")]


def put(path, tensor, value):
    """Two bytes into the middle of a tensor of 16-bit numbers; what was there."""
    with open(path, "r+b") as f:
        (head,) = struct.unpack("<Q", f.read(8))
        first, end = json.loads(f.read(head))[tensor]["data_offsets"]
        at = 8 + head + first + (end - first) // 4 * 2
        f.seek(at)
        was = f.read(2)
        f.seek(at)
        f.write(value)
    return was


def go(c, model, out, *args, cache="none"):
    return c.kino("run", "tools/gpu/demo.lua", "--models", model, "--cache", cache, "--json", "--out", c.folder / out, "--device", c.device,
                  "--steps", 4, *args)


def named(c, name, done, node, place, words):
    errors = [e for e in done.events() if e["event"] == "error"]
    e = errors[0] if errors else {"path": "", "message": ""}
    good = done.status == 1 and len(errors) == 1 and e["path"].startswith(node) and place in e["path"] and all(w in e["message"] for w in words)
    c.must(name, good and not (c.folder / "nan.png").exists(), f"status {done.status}: {e['path']}: {e['message']}"[:150], done)


def case(c, model, precision, file, tensor, node, place, op):
    cache = c.folder / f"nan-{node}-{precision}.sqlite"
    was = put(model / file, tensor, NAN)
    more = ["--precision", precision]
    named(c, f"{node} {precision}", go(c, model, "nan.png", *more, cache=cache), node, place, [op, tensor])
    listed = c.kino("cache", "ls", "--cache", cache)
    c.must(f"{node} {precision} kept", node == "wan.decode" or "latent/" not in listed.out, "no latent of it", listed)
    named(c, f"{node} {precision} watched", go(c, model, "nan.png", *more), node, "", ["NaN in "])
    put(model / file, tensor, was)
    done = go(c, model, "repaired.png", *more, cache=cache)
    c.must(f"{node} {precision} repaired", done.status == 0 and same(c, "repaired.png", f"sound-{precision}.png"), f"status {done.status}", done)
    (c.folder / "repaired.png").unlink(missing_ok=True)


def finite(c):
    model = c.folder / "model"
    shutil.copytree("graphs/demo", model)
    for precision in ("f32", "bf16"):
        done = go(c, model, f"sound-{precision}.png", "--precision", precision)
        checked = go(c, model, "checked.png", "--precision", precision, "--finite")
        c.must(f"--finite {precision}", done.status == 0 and checked.status == 0 and same(c, "checked.png", f"sound-{precision}.png"),
               f"the same bits, status {checked.status}", checked)
        (c.folder / "checked.png").unlink(missing_ok=True)
        for one in CASES:
            case(c, model, precision, *one)
    streamed(c, model)


def streamed(c, model):
    """Under a cap that lets weights pass through."""
    plan = c.kino("plan", "tools/gpu/demo.lua", "--models", model, "--json", "--out", c.folder / "nan.png", "--device", c.device, "--cache", "none")
    peak = plan.events()[0]["peak"]["device"] if plan.status == 0 and plan.events() else 0
    file, tensor, node, _, _ = CASES[0]
    was = put(model / file, tensor, NAN)
    named(c, "streamed", go(c, model, "nan.png", "--vram", str(peak - 8 * MIB)), node, "", ["NaN in "])
    put(model / file, tensor, was)
