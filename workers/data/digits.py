"""The digits of scikit-learn: 1,797 images of 8 x 8, which need no download."""

import numpy as np

from workers.data.images import Images, Split, fixed_order

_VALIDATION = _TEST = 270  # 15 % each
# scikit-learn's pixels go from 0 to 16.
_TO_BYTES = 15


def load() -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = (bunch.images * _TO_BYTES).astype(np.uint8)[:, None]
    split = Split(pixels, bunch.target.astype(np.int64))
    order = fixed_order(len(split))
    validation, test = order[:_VALIDATION], order[_VALIDATION : _VALIDATION + _TEST]
    return Images(
        split.take(order[_VALIDATION + _TEST :]), split.take(validation), split.take(test)
    )
