"""Captions in varied wording, and which tuples and sentence templates are kept from training.

`python3 captions.py` rewrites the committed lists: splits.json (unseen tuples, unseen templates)
and graphs/demo/spiece.model (sentencepiece unigram, UMT5's special ids: pad 0, eos 1, s 2, unk 3).
Its pieces are the whole words of the captions that training sees, then the characters of ASCII for
any other word. Capitals are folded by the model's own normaliser.
"""
import collections
import io
import json
import math
import pathlib
import random
import re
import string
import tempfile

import clips

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "graphs" / "demo"
TOKENS = 48                                                # longest caption, its eos included

# {o} object with its colour, {v} verb, {ving} its -ing form, {d} direction, {b} background
TEMPLATES = [
    "a {o} {v} {d} over a {b} background",
    "a {o} {v} {d} on a {b} background",
    "a {o} is {ving} {d} on a {b} background",
    "a {o} {v} {d} across a {b} background",
    "the {o} {v} {d} over the {b} background",
    "the {o} is {ving} {d} in front of a {b} background",
    "a {o} {ving} {d} over a {b} background",
    "a {o} {ving} {d}, {b} background",
    "{o} {ving} {d}, {b} background",
    "{o} {v} {d} on {b}",
    "a {o} that {v} {d} over a {b} background",
    "over a {b} background, a {o} {v} {d}",
    "on a {b} background a {o} {v} {d}",
    "in front of a {b} background, a {o} is {ving} {d}",
    "there is a {o} {ving} {d} on a {b} background",
    "a video of a {o} {ving} {d} over a {b} background",
    "a clip of a {o} that {v} {d} across a {b} background",
    "an animation of a {o} {ving} {d} on a {b} background",
    "we see a {o} {ving} {d} over a {b} background",
    "the background is {b} and a {o} {v} {d}",
    "the background is {b}. a {o} is {ving} {d}",
    "a {o} on a {b} background. it {v} {d}",
    "a {o} over a {b} background, {ving} {d}",
    "{b} background, {o} {ving} {d}",
    "a {b} background with a {o} {ving} {d}",
    "{ving} {d}: a {o} on a {b} background",
    "a {o} {v} {d}",
    "a {o} is {ving} {d}",
    "the {o} {v} {d} and the background is {b}",
    "across a {b} background {v} a {o}, {d}",
    "show a {o} that is {ving} {d} on a {b} background",
    "one {o} {v} {d} in front of the {b} background",
    "a {o}, {ving} {d}, on a {b} background",
    "a {o} slowly {v} {d} over a {b} background",
    "a {o} goes across the {b} background, {ving} {d}",
    "the {o} on the {b} background {v} {d}",
    "you see a {o}. it is {ving} {d} over a {b} background",
    "with a {b} background, the {o} is {ving} {d}",
    "an animation where a {o} {v} {d} and the background is {b}",
    "a video: {o}, {ving} {d}, {b} background",
    "a {b} background, and over it a {o} that {v} {d}",
    "it is a {o} and it {v} {d} in front of {b}",
]
ALWAYS_SEEN = TEMPLATES[:3]
DEMO_TUPLE = ("circle", "red", "blue", "left")

NOUNS = {"circle": ["circle", "circle", "disc"], "square": ["square", "square", "box"],
         "triangle": ["triangle"], "star": ["star"], "ring": ["ring", "ring", "hoop"]}
COLOUR_WORDS = {"purple": ["purple", "purple", "violet"]}
BACKGROUND_WORDS = {"grey": ["grey", "gray"]}
VERBS = [("moves", "moving"), ("moves", "moving"), ("slides", "sliding"), ("drifts", "drifting"),
         ("glides", "gliding"), ("travels", "travelling"), ("floats", "floating")]
PHRASES = {
    "left": ["left", "left", "to the left", "from right to left", "leftwards"],
    "right": ["right", "right", "to the right", "from left to right", "rightwards"],
    "up": ["up", "up", "upwards", "to the top", "from bottom to top"],
    "down": ["down", "down", "downwards", "to the bottom", "from top to bottom"],
    "up left": ["up and left", "up left", "to the upper left", "diagonally up and to the left",
                "to the top left"],
    "up right": ["up and right", "up right", "to the upper right",
                 "diagonally up and to the right", "to the top right"],
    "down left": ["down and left", "down left", "to the lower left",
                  "diagonally down and to the left", "to the bottom left"],
    "down right": ["down and right", "down right", "to the lower right",
                   "diagonally down and to the right", "to the bottom right"],
}


def caption(rng, row, templates, mark=lambda words, kinds: words):
    """One sentence for a tuple; sometimes with a capital, sometimes with a full stop.

    `mark` may change the words that tell something; `kinds` says what, by place in the tuple."""
    shape, colour, ground, direction = row
    word = rng.choice(COLOUR_WORDS.get(colour, [colour]))
    verb, verbing = rng.choice(VERBS)
    text = rng.choice(templates).format(
        o=mark(word + " " + rng.choice(NOUNS[shape]), (0, 1)), v=verb, ving=verbing,
        d=mark(rng.choice(PHRASES[direction]), (3,)),
        b=mark(rng.choice(BACKGROUND_WORDS.get(ground, [ground])), (2,)))
    text = re.sub(r"\ba (?=orange)", "an ", text)
    if rng.random() < 0.25:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.2 else text


def names_background(text):
    return any(w in text for w in ("background", " on ", "front of"))


def splits():
    """{'unseen_tuples': [...], 'unseen_templates': [...]} as committed."""
    return json.loads((HERE / "splits.json").read_text())


def parts():
    """(seen tuples, unseen tuples, seen templates, unseen templates)"""
    s = splits()
    unseen = [tuple(r) for r in s["unseen_tuples"]]
    hidden = set(unseen)
    seen = [r for r in clips.tuples() if r not in hidden]
    kept = [t for t in TEMPLATES if t not in s["unseen_templates"]]
    return seen, unseen, kept, s["unseen_templates"]


def tokenizer(path=None):
    import sentencepiece
    return sentencepiece.SentencePieceProcessor(model_file=str(path or DEMO / "spiece.model"))


def encode(sp, texts, length=TOKENS):
    """Ids with eos, cut and padded with 0 to `length`: a list of lists."""
    rows = [ids[:length - 1] + [1] for ids in sp.encode([" ".join(t.split()) for t in texts])]
    return [r + [0] * (length - len(r)) for r in rows]


def write_splits(seed=3):
    rng = random.Random(seed)
    rows = [r for r in clips.tuples() if r != DEMO_TUPLE]
    unseen = sorted(rng.sample(rows, 240))
    rest = [t for t in TEMPLATES if t not in ALWAYS_SEEN]
    hidden = rng.sample(rest, 14)
    text = json.dumps({"unseen_tuples": unseen, "unseen_templates": hidden}, indent=0)
    text = re.sub(r'\[\n("[^\]]*?)\n\]', lambda m: "[" + m[1].replace("\n", " ") + "]", text)
    (HERE / "splits.json").write_text(text + "\n")


def word_scores(seed=4, captions=30000):
    """{word: log of its share} over captions of seen tuples and templates."""
    rng = random.Random(seed)
    seen, _, kept, _ = parts()
    count = collections.Counter(
        word for _ in range(captions)
        for word in re.findall("[a-z]+", caption(rng, rng.choice(seen), kept).lower()))
    total = sum(count.values())
    return {w: math.log(n / total) for w, n in sorted(count.items(), key=lambda x: (-x[1], x[0]))}


def trained_model(sentences):
    """sentencepiece's own training: settings, and a normaliser that folds A-Z to a-z."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("".join(f"{ord(c):X}\t{ord(c.lower()):X}\n" for c in string.ascii_uppercase))
        rules.flush()
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=out, vocab_size=200,
            model_type="unigram", hard_vocab_limit=False, character_coverage=1.0,
            normalization_rule_tsv=rules.name, add_dummy_prefix=True,
            pad_id=0, eos_id=1, bos_id=2, unk_id=3, num_threads=1, minloglevel=2)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    model.trainer_spec.ClearField("input")
    model.normalizer_spec.name = "fold_ascii"
    return model


def write_tokenizer():
    """Training splits "red" in three, so the pieces are put in here: a word is worth more than its
    letters, a mark or a letter costs less than not knowing it."""
    scores = word_scores()
    model = trained_model(scores)
    del model.pieces[4:]
    least = min(scores.values()) - 1.0
    letters = [chr(c) for c in range(33, 127) if chr(c) not in string.ascii_uppercase]
    for piece, score in ([("\u2581" + w, s) for w, s in scores.items()]
                         + [(c, least) for c in ["\u2581"] + letters]):
        model.pieces.add(piece=piece, score=score)
    model.trainer_spec.vocab_size = len(model.pieces)
    DEMO.mkdir(parents=True, exist_ok=True)
    (DEMO / "spiece.model").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    write_splits()
    write_tokenizer()
    sp = tokenizer()
    seen_, unseen_, kept_, hidden_ = parts()
    lengths = [len(i) + 1 for i in sp.encode(
        [caption(random.Random(i), r, TEMPLATES) for i, r in enumerate(seen_ + unseen_)])]
    print(len(seen_), "seen and", len(unseen_), "unseen tuples,", len(kept_), "seen and",
          len(hidden_), "unseen templates,", sp.get_piece_size(), "pieces, longest caption",
          max(lengths))
