"""The engine's frames against diffusers' WanPipeline in f32: the same files, noise and prompts.

    python3 pipeline.py --kino ../../build/kino        # 8 prompts of unseen tuples; fails below 45 dB

The pipeline gets the exported weights in its own classes, the tokenizer as Hugging Face reads
graphs/demo/spiece.model, UniPC with shift 3, 20 steps, guidance 4, an empty negative prompt. The
engine runs prompts.lua with `schedule = diffusers`; its frames are 8-bit and not compressed. About
20 s a prompt on two cores.
"""
import argparse

import numpy as np
import torch

import captions
import engine
import evaluate
import export

FRAMES, SIZE = 17, 128
WANTED = 45.0


def tokenizer():
    """The .model file as transformers' fast tokenizer: its pieces, scores and normaliser."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast
    model = pb.ModelProto()
    model.ParseFromString((captions.DEMO / "spiece.model").read_bytes())
    fast = Tokenizer(models.Unigram([(p.piece, p.score) for p in model.pieces],
                                    unk_id=model.trainer_spec.unk_id, byte_fallback=False))
    fast.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(),
         pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")])
    fast.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], special_tokens=[("</s>", model.trainer_spec.eos_id)])
    return PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="<pad>", eos_token="</s>",
                                   unk_token="<unk>")


def build():
    from diffusers import UniPCMultistepScheduler, WanPipeline
    dit, text, vae = export.load()
    plan = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True,
                                   num_train_timesteps=1000, flow_shift=3.0)
    pipe = WanPipeline(tokenizer=tokenizer(), text_encoder=text, transformer=dit, vae=vae,
                       scheduler=plan)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pipeline_frames(pipe, text, seed):
    """float [17,128,128,3] in 0..255"""
    out = pipe(prompt=text, negative_prompt="", height=SIZE, width=SIZE, num_frames=FRAMES,
               num_inference_steps=20, guidance_scale=4.0, max_sequence_length=512,
               generator=torch.Generator().manual_seed(seed), output_type="np")
    return out.frames[0] * 255.0


def psnr(a, b):
    return 10 * np.log10(255.0 ** 2 / np.mean((a.astype(np.float64) - b) ** 2))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kino", default="build/kino")
    p.add_argument("--count", type=int, default=8)
    a = p.parse_args()
    pipe, found = build(), []
    texts, _, seeds = zip(*evaluate.prompts("unseen", a.count))
    ours = engine.clips([a.kino], texts, seeds, "--schedule", "diffusers")
    for text, seed, frames in zip(texts, seeds, ours):
        ids = pipe.tokenizer(text).input_ids
        assert ids == captions.tokenizer().encode(text) + [1], text
        found.append(psnr(frames, pipeline_frames(pipe, text, seed)))
        print("%6.2f dB  %s" % (found[-1], text), flush=True)
    print("lowest of %d: %.2f dB" % (len(found), min(found)))
    assert min(found) >= WANTED


if __name__ == "__main__":
    main()
