"""The world of the demo model: what a clip shows, and how it is drawn.

A clip is one object (shape, colour) that moves in one of eight directions over a plain background.
Shapes are signed distances, so edges are anti-aliased. Everything is written with operators that
numpy arrays and torch tensors share: training draws on the GPU, the checker draws with numpy.
"""
import math

SIZE, FRAMES = 128, 17

SHAPES = ["circle", "square", "triangle", "star", "ring"]

COLOURS = {
    "red": (220, 35, 40), "orange": (250, 140, 25), "yellow": (250, 225, 45),
    "green": (45, 175, 70), "blue": (35, 70, 215), "purple": (150, 45, 175),
    "white": (245, 245, 245), "black": (15, 15, 15),
}

BACKGROUNDS = {
    "blue": (60, 110, 215), "green": (55, 130, 75), "grey": (128, 128, 128),
    "black": (12, 12, 12), "white": (243, 243, 243),
}

# x to the right, y down, in units of the clip's travel
DIRECTIONS = {
    "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1),
    "up left": (-1, -1), "up right": (1, -1), "down left": (-1, 1), "down right": (1, 1),
}

COLOUR_NAMES, BACKGROUND_NAMES = list(COLOURS), list(BACKGROUNDS)
DIRECTION_NAMES = list(DIRECTIONS)


def tuples():
    """Every (shape, colour, background, direction) whose object stands out from its background."""
    return [(s, c, b, d) for s in SHAPES for c in COLOURS for b in BACKGROUNDS
            for d in DIRECTIONS if c != b]


# ---- signed distances, in units of the object's radius; y grows downwards -----------------------

def _max(a, b):
    return (a + b + abs(a - b)) / 2


def _circle(x, y):
    return (x * x + y * y) ** 0.5 - 0.95


def _square(x, y):
    return _max(abs(x), abs(y)) - 0.86


def _triangle(x, y):
    return _max(0.8660254 * abs(x) - 0.5 * y, y) - 0.68


def _ring(x, y):
    return abs((x * x + y * y) ** 0.5 - 0.80) - 0.24


def _star(x, y, r=1.40, inner=0.46):
    """Five-pointed star, point up: two folds, then the distance to one edge."""
    kx, ky = 0.809016994375, -0.587785252292
    x, y = abs(x), -y
    for sign in (1.0, -1.0):
        d = 2.0 * (sign * kx * x + ky * y).clip(0)
        x, y = x - d * sign * kx, y - d * ky
    x, y = abs(x), y - r
    bx, by = -inner * ky, inner * kx - 1.0
    h = ((x * bx + y * by) / (bx * bx + by * by)).clip(0, r)
    dx, dy = x - bx * h, y - by * h
    side = y * bx - x * by
    return (dx * dx + dy * dy + 1e-12) ** 0.5 * (1.0 - 2.0 * (side < 0))


DISTANCES = [_circle, _square, _triangle, _star, _ring]
EXTENT = 1.42                                    # no shape reaches further than this many radii


def coverage(shape, x, y, radius, soft=1.5):
    """How much of each pixel the shape covers (0..1); x, y in pixels from the object's centre."""
    d = DISTANCES[shape](x / radius, y / radius) * radius
    return (0.5 - d / soft).clip(0, 1)


# ---- scenes (torch) -----------------------------------------------------------------------------

def random_scene(torch, tuple_ids, table, size=SIZE, device="cpu"):
    """Random radius, place, travel and tint for each row of `table` (int64 [n,4]) picked."""
    n = tuple_ids.shape[0]
    unit = size / SIZE

    def uniform(lo, hi, *shape):
        return lo + (hi - lo) * torch.rand(n, *shape, device=device)

    pick = table[tuple_ids]
    compass = torch.tensor(list(DIRECTIONS.values()), dtype=torch.float32, device=device)
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.float32, device=device)
    grounds = torch.tensor(list(BACKGROUNDS.values()), dtype=torch.float32, device=device)
    step = compass[pick[:, 3]]
    diagonal = abs(step).sum(1) > 1.5
    radius = uniform(16, 21) * unit if size == SIZE else uniform(9, 17)
    room = size - 2 * (EXTENT * radius + 2)                       # where the centre may go
    travel = torch.where(diagonal, uniform(34, 46), uniform(44, 58)) * unit
    travel = travel.minimum(room - 1).clip(0)
    delta = step * travel[:, None]
    slack = room[:, None] - abs(delta)
    low = EXTENT * radius[:, None] + 2 - delta.clip(None, 0)
    start = low + torch.rand(n, 2, device=device) * slack
    return {
        "shape": pick[:, 0], "radius": radius, "start": start, "delta": delta,
        "fg": (colours[pick[:, 1]] + uniform(-6, 6, 3)).clip(0, 255) / 127.5 - 1,
        "bg": (grounds[pick[:, 2]] + uniform(-6, 6, 3)).clip(0, 255) / 127.5 - 1,
    }


def draw(torch, scene, frames=FRAMES, size=SIZE):
    """Clips [n,3,frames,size,size] in [-1,1] and the objects' coverage [n,1,frames,size,size]."""
    device = scene["radius"].device
    axis = torch.arange(size, device=device) + 0.5
    time = torch.linspace(0, 1, frames, device=device)
    centre = scene["start"][:, None] + time[:, None] * scene["delta"][:, None]      # [n,t,2]
    x = axis - centre[..., 0][..., None, None]                                      # [n,t,1,w]
    y = axis[:, None] - centre[..., 1][..., None, None]                             # [n,t,h,1]
    x, y = torch.broadcast_tensors(x, y)
    radius = scene["radius"][:, None, None, None]
    cover = torch.zeros_like(x)
    for i in range(len(SHAPES)):
        mine = (scene["shape"] == i)[:, None, None, None]
        cover = torch.where(mine, coverage(i, x, y, radius), cover)
    cover = cover[:, None]
    fg, bg = (scene[k][:, :, None, None, None] for k in ("fg", "bg"))
    return bg + (fg - bg) * cover, cover


def id_table(torch, rows, device="cpu"):
    """Tuples of names as an int64 tensor [n,4]."""
    keys = (SHAPES, COLOUR_NAMES, BACKGROUND_NAMES, DIRECTION_NAMES)
    return torch.tensor([[k.index(v) for k, v in zip(keys, r)] for r in rows], device=device)


def angle_of(direction):
    dx, dy = DIRECTIONS[direction]
    return math.atan2(dy, dx)
