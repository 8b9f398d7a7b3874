"""Goldens of cleaning and tokenizing: prompts, what diffusers' prompt_clean makes of them (ftfy installed), and the ids of the fast
tokenizer that google/umt5-xxl ships (tokenizers' Unigram with the pieces of a sentencepiece model).

The sentencepiece model is trained here on generated captions: unigram, byte pieces, special ids as in UMT5, a normaliser with a
table of its own. Writes tests/golden/data/tokenizer.model and tokenizer.json.
"""
import html
import html.entities
import io
import json
import random
import unicodedata

import ftfy
import sentencepiece
import tokenizers
import transformers
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from common import DATA, versions

NEGATIVE = ("色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
            "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走")
WORDS = ("a the red blue green yellow white black circle square star triangle moves left right up down over background slowly quickly "
         "cat dog walks through city street at night neon lights camera follows cinematic shot of two anthropomorphic cats in comfy "
         "boxing gear fight intensely on spotlighted stage and with sunset mountains ocean waves crashing man woman smiling").split()
PROMPTS = [
    "", " ", "a red circle moves left over a blue background", "  A  cat \t walks\n\n through   the city.  ", NEGATIVE,
    "a cat 🐈 walks 👩‍👩‍👧 left 🏴󠁧󠁢󠁷󠁬󠁳󠁿", "日本語のテキスト と 한국어", "Привет мир", "naïve café cafe\u0301 A\u030a",
    "“curly” ‘quotes’ ʼapos", "ﬁne ﬂuﬀy oﬃce ĳ ǆ ﬅ", "ＦＵＬＬ　ｗｉｄｔｈ！ ｶﾞｷﾞ ﾊﾟ ￡100", "it&#39;s &quot;fine&quot; &amp; &lt;b&gt;",
    "&amp;amp;amp;lt; x &nbsp; y", "<b>bold &amp; &eacute;</b>", "&EACUTE; &Ntilde; &NTILDE; &nTILDE; &SZLIG;", "&copy &notit; &not &ampx &amp",
    "&#0; &#128; &#x80; &#x1f600; &#xd800; &#1114112; &#13; &#11; &#65534; &#99999999999999999999;", "&#59; &#x3b; &#12ab; &#xzz; &# &#x &;",
    "&hellip; &mdash; &rarr; &NotEqualTilde; &fjlig; &CounterClockwiseContourIntegral;", "zero\x00width" .replace("\x00", "\u200b") + "\u200dx\ufeffy",
    "red \x1b[31;1mtext\x1b[0m \x1b[x \x1b", "bell\x07 back\x08 del\x7f vt\x0b ff\x0c x\x1cy", "line\r\none\rtwo\u2028three\u2029four\u0085five",
    "\x80 \x91quoted\x92 \x85 \x81", "a\ufff9b\ufffac\ufffbd\ufffce\u206af", "10³ µ Å Å ﷺ ½", "\u1100\u1161\u11a8 \uac00\u11a8",
    "q\u0307\u0323 \u0344", "one <extra_id_0> two </s> three <unk><pad>x", "<extra_id_299><extra_id_300><extra_id_07>",
    "x" * 600, " ".join(WORDS[i * 7 % len(WORDS)] for i in range(600)), "unseen ზღაპარი ☃☃☃ text ☃",
    "&" * 40, "&" + "a" * 40 + ";", "&amp" * 5, "a & b && c; d&e;", "tab\there", "\u3000ideographic\u3000space\u3000", "…dots… – — ―",
    "\u00a0nbsp\u2003em\u202fnarrow\u205f", "x\u0300\u0301\u0302", "🇩🇪🇫🇷 ❤️ ☺︎", "C:\\path \\n \\u0041", "(a cat:1.2), [dog]",
    "mixed 中文 and English，with full-width，commas。", "\u2018single\u2019 \u201cdouble\u201d \u201alow\u201e",
]
RULES = {"Ａ": "A", "①": "1", "½": "1/2", "ß": "ss", "œ": "oe", "°": "", "“": '"', "㍿": "株式会社", "e\u0300": "è", "ﷺ": "x y"}


def corpus():
    r = random.Random(1)
    for _ in range(4000):
        yield " ".join(r.choice(WORDS) for _ in range(r.randint(3, 12)))
    for _ in range(300):
        yield "，".join(r.sample(NEGATIVE.split("，"), 5))
        yield ", ".join(r.sample(NEGATIVE.split("，"), 5)) + ". JPEG! (1.2) it's"


def train():
    rules = DATA / "rules.tsv"
    rules.write_text("".join("%s\t%s\n" % (" ".join("%X" % ord(c) for c in a), " ".join("%X" % ord(c) for c in b)) for a, b in RULES.items()))
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=out, model_type="unigram", vocab_size=470, byte_fallback=True, pad_id=0, eos_id=1, bos_id=2,
        unk_id=3, normalization_rule_tsv=str(rules), num_threads=1, character_coverage=1.0, minloglevel=2)
    rules.unlink()
    return out.getvalue()


def fast(model):
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto = pb.ModelProto()
    proto.ParseFromString(model)
    vocab = [(p.piece, p.score) for p in proto.pieces]
    n = len(vocab)
    vocab += [(f"<extra_id_{i}>", 0.0) for i in range(299, -1, -1)]
    t = Tokenizer(models.Unigram(vocab, unk_id=proto.trainer_spec.unk_id, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    t.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 1)])
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in ["</s>", "<unk>", "<pad>"]])
    t.add_special_tokens([AddedToken(f"<extra_id_{i}>", normalized=False, special=True) for i in range(300)])
    return PreTrainedTokenizerFast(tokenizer_object=t, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"), n


def by_tables(text):
    """1 when ftfy's repair of wrong decoding has no part in the result."""
    return ftfy.fix_text(text) == ftfy.fix_text(text, fix_encoding=False)


def entity_prompts():
    """Every reference of HTML4, and every tenth of HTML5, also without semicolon and in capitals."""
    names = [n + ";" for n in sorted(html.entities.name2codepoint)]
    names += sorted(html.entities.html5)[::10] + [n.upper() for n in names]
    return [" ".join(f"x&{n}y" for n in names[i:i + 40]) for i in range(0, len(names), 40)]


def make():
    model = train()
    tokenizer, pieces = fast(model)
    cases = []
    for text in PROMPTS + entity_prompts() + ["".join(chr(c) for c in range(0xFF01, 0xFFF0) if unicodedata.category(chr(c)) != "Cn")]:
        assert by_tables(text), text
        clean = prompt_clean(text)
        ids = tokenizer(clean, truncation=True, max_length=512).input_ids
        cases.append({"text": text, "clean": clean, "ids": ids})
    meta = {"generator": "tools/golden/tokenizer.py", "pieces": pieces, **versions(ftfy, sentencepiece, tokenizers, transformers)}
    (DATA / "tokenizer.model").write_bytes(model)
    (DATA / "tokenizer.json").write_text(json.dumps({**meta, "cases": cases}, separators=(",", ":")) + "\n")
    for name in ("tokenizer.model", "tokenizer.json"):
        print(f"{name:28s} {(DATA / name).stat().st_size:9d} bytes", flush=True)


if __name__ == "__main__":
    make()
