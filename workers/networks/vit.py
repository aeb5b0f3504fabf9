"""A small vision transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.networks.layers import SMALL

_WIDTH, _DEPTH, _HEADS, _EXPANSION = 192, 12, 3, 4
_PATCH, _SMALL_PATCH = 16, 4
_EPSILON = 1e-6
_SPREAD = 0.02


class ViT(nn.Module):
    """Patches as tokens, a token that stands for the image, and twelve transformer blocks.

    Patches are 16 pixels wide, or 4 in images smaller than 64 pixels. A GELU in each block.

    Args:
        size: Side of the square images in pixels; divisible by the width of a patch.

    Shape:
        - Input: `(N, channels, size, size)`.
        - Output: `(N, classes)`.

    Raises:
        ValueError: If patches do not fill the image.

    Source:
        Dosovitskiy et al., *An Image is Worth 16x16 Words*, 2020
        (https://arxiv.org/abs/2010.11929), in the tiny size of Touvron et al., *Training
        data-efficient image transformers*, 2020, table 1 (5 million parameters).
        https://arxiv.org/abs/2012.12877
    """

    def __init__(self, channels: int, classes: int, *, size: int) -> None:
        super().__init__()
        patch = _SMALL_PATCH if size < SMALL else _PATCH
        if size % patch:
            raise ValueError(f"images of {size} pixels are not filled by patches of {patch}")
        self.patches = nn.Conv2d(channels, _WIDTH, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, _WIDTH))
        self.blocks = nn.Sequential(*(_Block() for _ in range(_DEPTH)))
        self.norm = nn.LayerNorm(_WIDTH, _EPSILON)
        self.head = nn.Linear(_WIDTH, classes)
        nn.init.trunc_normal_(self.token, std=_SPREAD)
        nn.init.trunc_normal_(self.positions, std=_SPREAD)
        self.apply(_initial)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(len(x), -1, -1), patches), dim=1)
        y: Tensor = self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])
        return y


class _Block(nn.Module):
    """Attention, then two layers, each normalised before and added to what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(_WIDTH, _EPSILON)
        self.attention = _Attention()
        self.norm2 = nn.LayerNorm(_WIDTH, _EPSILON)
        self.layers = nn.Sequential(
            nn.Linear(_WIDTH, _EXPANSION * _WIDTH),
            nn.GELU(),
            nn.Linear(_EXPANSION * _WIDTH, _WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.layers(self.norm2(x))
        return y


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.split = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.join = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        # To (N, heads, tokens, width of a head) for queries, keys and values.
        parts = self.split(x).unflatten(2, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.join(mixed.transpose(1, 2).flatten(2))
        return y


def _initial(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=_SPREAD)
        nn.init.zeros_(module.bias)
