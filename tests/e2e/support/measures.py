"""How far values are from others, by the formulas of docs/report.md."""

import numpy as np


def cosines(a, b) -> np.ndarray:
    """Row by row."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / norms


def cosine(a, b) -> float:
    """Of all values."""
    return float(cosines(np.reshape(a, (1, -1)), np.reshape(b, (1, -1)))[0])


def sqnr_db(exact, actual) -> float:
    exact = np.asarray(exact, np.float64)
    noise = np.sum((exact - np.asarray(actual, np.float64)) ** 2)
    return float(10 * np.log10(np.sum(exact**2) / noise))


def max_error(exact, actual) -> float:
    return float(np.abs(np.subtract(exact, actual, dtype=np.float64)).max())
