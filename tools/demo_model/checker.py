"""Judges a clip: which colour, shape, background and direction do its frames show?

    python3 checker.py clip.mp4            # prints the verdict (reads the video through ffmpeg)
    python3 checker.py --self-test 500     # accuracy on clips of the generator, confusion matrix

Deterministic numpy, no trained part. The background is the median of the border; the object is what
differs from it; its colour is the median of its core and its place the centre of mass in each frame.
Direction is a straight line fitted through these places: a clip that does not travel, or not
steadily, has none. Shape is the generator's silhouette of equal area that overlaps best; below
LEAST_OVERLAP there is none. A verdict of None is always counted as wrong.
"""
import argparse
import json
import subprocess

import numpy as np

import clips

LEAST_CONTRAST = 45                     # of 255, object against background
LEAST_AREA, LEAST_TRAVEL = 120, 18      # pixels; objects have 500 and more and travel 44 and more
LEAST_OVERLAP = 0.72
FARTHEST_COLOUR = 75                    # RGB distance to the palette
KINDS = ("colour", "shape", "background", "direction")


def read_video(path):
    """uint8 [frames,h,w,3] of a video file."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
         "stream=width,height", "-of", "json", path], capture_output=True, check=True).stdout
    stream = json.loads(probe)["streams"][0]
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt",
                          "rgb24", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, stream["height"], stream["width"], 3)


def write_video(path, frames, fps=8):
    """H.264 yuv420p, as the engine writes it."""
    n, h, w, _ = frames.shape
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
                    f"{w}x{h}", "-r", str(fps), "-i", "-", "-c:v", "libx264", "-pix_fmt",
                    "yuv420p", path], input=np.ascontiguousarray(frames).tobytes(), check=True)


def nearest(rgb, palette):
    gaps = {k: float(np.linalg.norm(rgb - np.array(v))) for k, v in palette.items()}
    best = min(gaps, key=gaps.get)
    return best if gaps[best] <= FARTHEST_COLOUR else None


def separate(f):
    """(background colour, object colour or None, coverage [t,h,w])"""
    border = np.concatenate([f[:, :2].reshape(-1, 3), f[:, -2:].reshape(-1, 3),
                             f[:, :, :2].reshape(-1, 3), f[:, :, -2:].reshape(-1, 3)])
    ground = np.median(border, 0)
    gap = np.linalg.norm(f - ground, axis=-1)
    contrast = np.percentile(gap, 98.5)
    if contrast < LEAST_CONTRAST:
        return ground, None, np.zeros(f.shape[:3])
    colour = np.median(f[gap > 0.8 * contrast], 0)
    line = colour - ground
    return ground, colour, ((f - ground) @ line / (line @ line)).clip(0, 1)


def places(cover):
    """Centre of mass (x, y) and area of the object in each frame."""
    h, w = cover.shape[1:]
    heavy = np.where(cover > 0.35, cover, 0)
    area = heavy.sum((1, 2))
    total = np.maximum(area, 1e-6)
    x = (heavy.sum(1) * (np.arange(w) + 0.5)).sum(1) / total
    y = (heavy.sum(2) * (np.arange(h) + 0.5)).sum(1) / total
    return np.stack([x, y], 1), area


def direction_of(path):
    """Name of the direction of a straight, steady path of centres; None without one."""
    time = np.linspace(-0.5, 0.5, len(path))
    away = path - path.mean(0)
    travel = (time[:, None] * away).sum(0) / (time ** 2).sum()
    length = np.linalg.norm(travel)
    if length < LEAST_TRAVEL:
        return None
    along = away @ (travel / length)
    if np.corrcoef(along, time)[0, 1] < 0.9:
        return None
    units = {k: np.array(v) / np.linalg.norm(v) for k, v in clips.DIRECTIONS.items()}
    return max(units, key=lambda k: units[k] @ travel)


def _unit_areas():
    axis = (np.arange(400) + 0.5) / 400 * 3.2 - 1.6
    x, y = np.meshgrid(axis, axis)
    return [float((d(x, y) < 0).mean() * 3.2 ** 2) for d in clips.DISTANCES]


UNIT_AREAS = _unit_areas()


def overlaps(cover, path, area):
    """Mean overlap (intersection over union) of the object with each of the shapes."""
    h, w = cover.shape[1:]
    sharp = ((cover - 0.5) * 1.6 + 0.5).clip(0, 1)
    scores = np.zeros((len(path), len(clips.SHAPES)))
    for i, (cx, cy) in enumerate(path):
        x = (np.arange(w) + 0.5 - cx)[None, :] + np.zeros((h, 1))
        y = (np.arange(h) + 0.5 - cy)[:, None] + np.zeros((1, w))
        for s in range(len(clips.SHAPES)):
            base = (area[i] / UNIT_AREAS[s]) ** 0.5
            for scale in (0.96, 1.0, 1.05):
                mine = clips.coverage(s, x, y, base * scale)
                both = np.minimum(mine, sharp[i]).sum() / np.maximum(mine, sharp[i]).sum()
                scores[i, s] = max(scores[i, s], both)
    return scores.mean(0)


def judge(frames):
    """{'colour','shape','background','direction','overlap'} for uint8 [t,h,w,3] frames."""
    f = np.asarray(frames).astype(np.float64)
    ground, colour, cover = separate(f)
    verdict = dict.fromkeys(KINDS)
    verdict["overlap"] = 0.0
    verdict["background"] = nearest(ground, clips.BACKGROUNDS)
    if colour is None:
        return verdict
    verdict["colour"] = nearest(colour, clips.COLOURS)
    path, area = places(cover)
    there = area >= LEAST_AREA
    if there.mean() < 0.8:
        return verdict
    if there.all():
        verdict["direction"] = direction_of(path)
    some = np.flatnonzero(there)[::2]
    scores = overlaps(cover[some], path[some], area[some])
    verdict["overlap"] = float(scores.max())
    if scores.max() >= LEAST_OVERLAP:
        verdict["shape"] = clips.SHAPES[int(scores.argmax())]
    return verdict


def right(verdict, row):
    """{kind: True or False} against (shape, colour, background, direction)"""
    want = dict(zip(("shape", "colour", "background", "direction"), row))
    return {k: verdict[k] == want[k] for k in KINDS}


def confusion(kind, wanted, found, names):
    """Rows: what the clip shows; columns: the verdict; the last column is none."""
    print(f"{kind:12s}" + "".join(f"{n[:10]:>11s}" for n in names + ["none"]))
    for a in names:
        row = [sum(w == a and f == b for w, f in zip(wanted, found)) for b in names + [None]]
        print(f"{a:12s}" + "".join(f"{n:11d}" for n in row))


def generator_clips(count, seed=99):
    """uint8 clips of the generator over all tuples, and their tuples."""
    import torch
    torch.manual_seed(seed)
    rows = clips.tuples()
    table = clips.id_table(torch, rows)
    ids = torch.randint(len(rows), (count,))
    for i in range(0, count, 20):
        video = clips.draw(torch, clips.random_scene(torch, ids[i:i + 20], table))[0]
        yield video, [rows[j] for j in ids[i:i + 20].tolist()]


def round_trip(video, nets):
    """A VAE round trip (if there is a VAE) and H.264."""
    import tempfile
    import torch
    import vae as wan_vae
    if nets:
        with torch.no_grad(), wan_vae.whole_clip():
            mean, std = wan_vae.constants()
            z = wan_vae.encode(nets, video, mean, std)
            video = wan_vae.decode(nets, z, mean, std).clamp(-1, 1)
    out = ((video + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).numpy()
    with tempfile.NamedTemporaryFile(suffix=".mp4") as f:
        for clip in out:
            write_video(f.name, clip)
            yield read_video(f.name)


def self_test(count):
    vae = None
    try:
        import export
        vae = export.load()[2]
    except FileNotFoundError:
        print("no exported VAE yet: H.264 only")
    wanted, verdicts, moving_when_frozen = [], [], 0
    for video, rows in generator_clips(count):
        for frames, row in zip(round_trip(video, vae), rows):
            wanted.append(row)
            verdicts.append(judge(frames))
            frozen = judge(np.repeat(frames[8:9], len(frames), 0))
            moving_when_frozen += frozen["direction"] is not None
    report(wanted, verdicts)
    print("frozen clips with a direction:", moving_when_frozen, "of", count)


def report(wanted, verdicts):
    marks = [right(v, w) for v, w in zip(verdicts, wanted)]
    rng = np.random.default_rng(5)
    others = [wanted[i] for _ in range(20) for i in rng.permutation(len(wanted))]
    shuffled = [right(v, w) for v, w in zip(verdicts * 20, others)]
    at = {"shape": 0, "colour": 1, "background": 2, "direction": 3}
    for k in KINDS:
        share = {}
        for w in wanted:
            share[w[at[k]]] = share.get(w[at[k]], 0) + 1 / len(wanted)
        print(f"{k:11s} right {100 * np.mean([m[k] for m in marks]):6.2f} %   shuffled prompts "
              f"{100 * np.mean([m[k] for m in shuffled]):5.1f} % (chance "
              f"{100 * sum(s * s for s in share.values()):.1f} %)")
    print(f"all four    right {100 * np.mean([all(m.values()) for m in marks]):6.2f} %   "
          f"lowest overlap of a right shape "
          f"{min([v['overlap'] for v, m in zip(verdicts, marks) if m['shape']], default=0):.2f}")
    names = (clips.COLOUR_NAMES, clips.SHAPES, clips.BACKGROUND_NAMES, clips.DIRECTION_NAMES)
    for k, n in zip(KINDS, names):
        confusion(k, [w[at[k]] for w in wanted], [v[k] for v in verdicts], n)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("video", nargs="*")
    p.add_argument("--self-test", type=int)
    a = p.parse_args()
    if a.self_test:
        self_test(a.self_test)
    for path_ in a.video:
        print(path_, judge(read_video(path_)))
