"""Goldens of schedules, solvers and whole sampling runs, by diffusers' schedulers in float64.

    schedules     sigmas and timesteps of each grid
    solvers       trajectories of the scalar field v(x, s) = 0.7 x - 0.3 sin(3 s) from x = 1
    sample        runs of a small transformer with guidance: results of each solver and grid, and of two experts

The official grids are written from their formulas (Wan2.1 wan/utils/fm_solvers_unipc.py and fm_solvers.py, set_timesteps and
get_sampling_sigmas) and put into diffusers' schedulers, whose solvers are the official ones.
"""
import diffusers
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

import dit
import shapes
from common import Recipe, f32, f64, float64, store

MODULES = (torch, diffusers)
GRIDS = [(4, 5.0), (8, 5.0), (50, 5.0), (40, 12.0), (40, 3.0), (50, 16.0), (20, 3.0), (1, 5.0), (2, 8.0)]
SHIFTS, MOST_STEPS = [1.0, 3.0, 5.0, 7.0, 8.0, 12.0, 16.0], 60  # timesteps of all numbers of steps: they are truncated, so rounding shows
FLOW = dict(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000)
RUNS = {  # name: solver, grid, steps, shift, guidance, (boundary, guidance of the low expert)
    "unipc.official": ("unipc", "official", 6, 5.0, 4.0, None),
    "unipc.diffusers": ("unipc", "diffusers", 6, 3.0, 5.0, None),
    "dpm.official": ("dpm", "official", 6, 5.0, 4.0, None),
    "dpm.diffusers": ("dpm", "diffusers", 5, 3.0, 4.0, None),
    "euler.diffusers": ("euler", "diffusers", 4, 5.0, 3.0, None),
    "plain": ("unipc", "official", 4, 8.0, 1.0, None),
    "experts": ("unipc", "official", 8, 12.0, 4.0, (0.875, 3.0)),
}


def scheduler(solver, shift):
    if solver == "unipc":
        return UniPCMultistepScheduler(flow_shift=shift, **FLOW)
    if solver == "dpm":
        return DPMSolverMultistepScheduler(flow_shift=shift, **FLOW)
    return FlowMatchEulerDiscreteScheduler(shift=shift)


def official(solver, steps, shift):
    """Sigmas [steps + 1] and timesteps [steps]."""
    top = float(np.float32(0.999)) if solver == "unipc" else 1.0
    u = np.linspace(top, 0, steps + 1)[:-1]
    sigmas = shift * u / (1 + (shift - 1) * u)
    return np.append(sigmas, 0.0), (1000 * sigmas).astype(np.int64)


def ready(solver, grid, steps, shift):
    """A scheduler with its grid set; sigmas are rounded to float, as the official code does, and computed with in float64."""
    s = scheduler(solver, shift)
    s.set_timesteps(steps)
    if grid == "official":
        sigmas, t = official(solver, steps, shift)
        s.sigmas, s.timesteps = torch.from_numpy(sigmas.astype(np.float32)), torch.from_numpy(t)
    s.sigmas = s.sigmas.double()
    s.set_begin_index(0)
    return s


def trajectory(solver, grid, steps, shift):
    s, x, out = ready(solver, grid, steps, shift), torch.ones(1, 1, 1, dtype=torch.float64), []
    for i, t in enumerate(s.timesteps):
        v = 0.7 * x - 0.3 * torch.sin(3 * s.sigmas[i])
        x = s.step(v, t, x).prev_sample
        out.append(float(x))
    return np.array(out)


def schedules():
    out = {}
    for steps, shift in GRIDS:
        for solver in ("unipc", "dpm", "euler"):
            for grid in ("official", "diffusers") if solver != "euler" else ("diffusers",):
                s = ready(solver, grid, steps, shift)
                key = f"{solver}.{grid}.{steps}.{shift:g}"
                out[f"sigma.{key}"], out[f"t.{key}"] = s.sigmas.numpy(), s.timesteps.double().numpy()
    for shift in SHIFTS:
        for solver in ("unipc", "dpm"):
            for grid in ("official", "diffusers"):
                lists = [ready(solver, grid, n, shift).timesteps.numpy() for n in range(1, MOST_STEPS + 1)]
                out[f"all.{solver}.{grid}.{shift:g}"] = np.concatenate(lists).astype(np.int16)
    store("schedules", "sampler.py", "diffusers schedulers, official formulas", 0, MODULES, out, grids=GRIDS, shifts=SHIFTS, most_steps=MOST_STEPS)


def solvers():
    out = {}
    for steps, shift in [(1, 5.0), (2, 5.0), (3, 5.0), (4, 5.0), (8, 5.0), (12, 12.0)]:
        for solver, grid in [("unipc", "official"), ("unipc", "diffusers"), ("dpm", "official"), ("dpm", "diffusers"), ("euler", "diffusers")]:
            if solver == "dpm" and grid == "official" and steps < 2:
                continue  # its scheduler divides infinity by infinity there; the step is x - v
            out[f"x.{solver}.{grid}.{steps}.{shift:g}"] = trajectory(solver, grid, steps, shift)
    assert all(np.isfinite(v).all() for v in out.values()), {k: v for k, v in out.items() if not np.isfinite(v).all()}
    store("solvers", "sampler.py", "diffusers schedulers, float64", 0, MODULES, out)


def run(high, low, given, solver, grid, steps, shift, guidance, experts):
    s, x = ready(solver, grid, steps, shift), given["latent"]
    for t in s.timesteps:
        model, g = high, guidance
        if experts and float(t) < experts[0] * 1000:
            model, g = low, experts[1]
        v = dit.velocity(model, x, float(t), given["text"])
        if g != 1:
            v0 = dit.velocity(model, x, float(t), given["negative"])
            v = v0 + g * (v - v0)
        x = s.step(v[None], t, x[None]).prev_sample[0]
    return x


def sample():
    seed, text_dim = 41, 32
    size = (256, 2, 320, text_dim)
    recipe = Recipe(seed, {"model.safetensors": shapes.dit(*size), "low.safetensors": shapes.dit(*size),
                           "inputs.safetensors": dit.inputs((16, 2, 6, 10), text_dim, 6, negative=True)}, seeds={"low.safetensors": seed + 1})
    high, low = (dit.reference(dit.config(*size), recipe.values(f)) for f in ("model.safetensors", "low.safetensors"))
    given = f64(recipe.values("inputs.safetensors"))
    out = {f"x.{name}": f32(run(high, low, given, *row)) for name, row in RUNS.items()}
    for name in RUNS:
        print(f"  {name}: {out[f'x.{name}'].std():.3f}")
    store("sample", "sampler.py", "diffusers.WanTransformer3DModel and schedulers, float64", seed, MODULES, out, recipe, runs=RUNS)


def make():
    with float64():
        schedules()
        solvers()
        sample()


if __name__ == "__main__":
    make()
