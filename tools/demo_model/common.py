"""What both training scripts share: a step in one CUDA graph, rates by the clock, moving averages,
checkpoints."""
import math
import time

import torch


class Clock:
    """Seconds since the program's start: every phase ends by the clock, not by a step count."""
    start = time.time()

    @classmethod
    def now(cls):
        return time.time() - cls.start


def log(*words):
    print(f"[{Clock.now():6.1f}]", *words, flush=True)


def sync(device):
    if device == "cuda":
        torch.cuda.synchronize()


class GraphedStep:
    """Runs `fn` three times, then captures it in a CUDA graph; falls back to plain calls."""

    def __init__(self, fn, device):
        self.fn, self.graph, self.out = fn, None, None
        if device != "cuda":
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                fn()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.out = fn()
            self.graph = graph
        except Exception as e:                             # slower, but right
            log("no CUDA graph:", type(e).__name__, str(e)[:300])
            torch.cuda.synchronize()

    def __call__(self):
        if self.graph is None:
            return self.fn()
        self.graph.replay()
        return self.out


class Trainer:
    """AdamW with a rate held in a tensor, clipping, and an average of the weights."""

    def __init__(self, modules, rate, device, decay=0.999, clip=2.0, weight_decay=0.01):
        self.named = {f"{m}.{n}": p for m, mod in modules.items()
                      for n, p in mod.named_parameters()}
        self.params = list(self.named.values())
        self.rate = torch.tensor(rate, device=device)
        self.peak, self.decay, self.clip, self.device = rate, decay, clip, device
        fast = {"fused": True, "capturable": True} if device == "cuda" else {}
        self.opt = torch.optim.AdamW(self.params, lr=self.rate, betas=(0.9, 0.99),
                                     weight_decay=weight_decay, **fast)
        self.ema = [p.detach().clone() for p in self.params]

    def update(self, loss):
        """Backward and one step; safe inside a CUDA graph."""
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, self.clip, foreach=True)
        self.opt.step()
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.params], 1 - self.decay)

    def set_rate(self, progress, steps, warm=300):
        share = 0.5 + 0.5 * math.cos(math.pi * min(max(progress, 0.0), 1.0))
        self.rate.fill_(self.peak * (0.005 + 0.995 * share) * min(1.0, (steps + 1) / warm))

    def averages(self):
        """Averaged weights as {name: float32 tensor on the CPU}."""
        return {k: v.float().cpu() for k, v in zip(self.named, self.ema)}

    def load(self, weights):
        with torch.no_grad():
            for (name, p), e in zip(self.named.items(), self.ema):
                p.copy_(weights[name])
                e.copy_(weights[name])

    def state(self):
        return {"params": [p.detach() for p in self.params], "ema": self.ema,
                "opt": self.opt.state_dict()}

    def load_state(self, state):
        with torch.no_grad():
            for p, q in zip(self.params + self.ema, state["params"] + state["ema"]):
                p.copy_(q)
        keep = self.rate
        self.opt.load_state_dict(state["opt"])
        for group in self.opt.param_groups:
            group["lr"] = keep


def run_until(step, trainer, end, device, span=(0.0, 1.0), name="", every=20, done=0,
              after=None):
    """Calls step() until the clock shows `end`; the rate falls along `span` of its cosine."""
    begin, count, last = Clock.now(), 0, 0.0
    while Clock.now() < end:
        share = (Clock.now() - begin) / max(end - begin, 1e-6)
        trainer.set_rate(span[0] + (span[1] - span[0]) * share, done + count)
        for _ in range(every):
            loss = step()
        count += every
        sync(device)
        if after:
            after()
        if Clock.now() - last > 15:
            last = Clock.now()
            ms = 1000 * (last - begin) / count
            log(f"{name} step {done + count} loss {float(loss):.5f} {ms:.1f} ms a step")
    log(f"{name} ended at step {done + count}")
    return done + count


def save_pieces(weights, stem, limit=15 * 2 ** 20):
    """bf16 safetensors named stem-1, stem-2, ... each below `limit` bytes."""
    from safetensors.torch import save_file
    pieces, size = [{}], 0
    for name, value in weights.items():
        value = value.to(torch.bfloat16).contiguous().cpu()
        if size + 2 * value.numel() > limit:
            pieces.append({})
            size = 0
        pieces[-1][name] = value
        size += 2 * value.numel()
    for i, piece in enumerate(pieces):
        save_file(piece, f"{stem}-{i + 1}.safetensors")


def load_pieces(stem):
    """The float32 weights of save_pieces()."""
    import glob
    from safetensors.torch import load_file
    files = sorted(glob.glob(f"{stem}-*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{stem}-*.safetensors")
    return {k: v.float() for f in files for k, v in load_file(f).items()}
