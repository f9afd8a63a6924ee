"""Debian's fortunes as real texts: some files to calibrate on, others, never
seen by calibration, to evaluate on."""

import pathlib

import tokenizers

_FORTUNES = pathlib.Path("/usr/share/games/fortunes")
_CALIBRATION = (
    "computers",
    "cookie",
    "definitions",
    "literature",
    "science",
    "work",
)
_HELD_OUT = ("people", "politics", "riddles", "law", "medicine", "wisdom")

# What the tokenizer of all-MiniLM-L6-v2 is configured to.
MAX_TOKENS = 128


def _read(names, count):
    """`count` texts, taken evenly from all files."""
    files = [
        [
            text.strip()
            for text in (_FORTUNES / name)
            .read_text(encoding="utf-8", errors="replace")
            .split("\n%\n")
            if text.strip()
        ]
        for name in names
    ]
    texts = []
    for i in range(max(map(len, files))):
        texts += [file[i] for file in files if i < len(file)]
    if len(texts) < count:
        raise ValueError(f"{len(texts)} texts in {names}, not {count}")
    return texts[:count]


def calibration_texts(count=256):
    return _read(_CALIBRATION, count)


def held_out_texts(count=128):
    return _read(_HELD_OUT, count)


def tokenize(model_dir: pathlib.Path, texts) -> list[list[int]]:
    tokenizer = tokenizers.Tokenizer.from_file(
        str(model_dir / "tokenizer.json")
    )
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]
