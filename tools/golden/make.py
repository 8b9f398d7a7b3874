#!/usr/bin/env python3
"""Makes all goldens again: python3 tools/golden/make.py [dit] [text] [vae] [sampler] [noise] [tokenizer]     (default: all)

Needs torch, diffusers, transformers, sentencepiece, ftfy, safetensors, numpy; each file's metadata names the versions used.
One thread, half a minute.
"""
import importlib
import sys

PARTS = ["dit", "text", "vae", "sampler", "noise", "tokenizer"]

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        if part not in PARTS:
            sys.exit(f"no goldens are called {part!r}; there are: {', '.join(PARTS)}")
        importlib.import_module(part).make()
