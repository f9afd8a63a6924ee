"""How close embeddings are, and how well they follow what people say."""

import pathlib

import numpy as np

from support.measures import cosines


def closeness(expected, actual) -> dict:
    each = cosines(expected, actual)
    return {"mean_cosine": float(each.mean()), "worst": float(each.min())}


def read_pairs(path: pathlib.Path):
    """The STS benchmark's CSV: score, sentence, sentence in fields 5 to 7."""
    lefts, rights, scores = [], [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        scores.append(float(fields[4]))
        lefts.append(fields[5])
        rights.append(fields[6])
    return lefts, rights, np.array(scores)


def correlation(embeddings, scores) -> float:
    """Spearman's, in percent: of the cosines of the first half's embeddings
    with the second half's, and the scores."""
    half = len(embeddings) // 2
    similar = cosines(embeddings[:half], embeddings[half:])
    return 100 * float(np.corrcoef(ranks(similar), ranks(scores))[0, 1])


def ranks(values) -> np.ndarray:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, group, counts = np.unique(
        values, return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
