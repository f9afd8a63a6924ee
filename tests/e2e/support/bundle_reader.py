"""The readers of docs/bundle-format.md, run as they stand there: `linear`,
`read` and `weights`; `BLOCKS` are the lines of each, the short one first."""

import pathlib
import re

import numpy as np

from support.paths import ROOT

_DOCS = ROOT / "docs/bundle-format.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", _DOCS.read_text(), re.S | re.M)

_names: dict = {}
for _block in BLOCKS:
    exec(compile(_block, _DOCS.name, "exec"), _names)

linear, read, stored, weights = (
    _names[name] for name in ("linear", "read", "stored", "weights")
)


def tensors(bundle: pathlib.Path) -> dict[str, np.ndarray]:
    return dict(stored(bundle))
