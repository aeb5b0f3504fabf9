"""Maxout, which divides the number of channels, so that no site of a network can have it."""

from torch import Tensor, nn

from search_space.errors import BadParameter


class Maxout(nn.Module):
    r"""The largest of every `pieces` channels, after a layer with `pieces` times the channels.

    .. math:: f(x)_c = \max_{j < k} x_{c k + j}

    Any continuous function is the difference of two such units over enough linear pieces. It
    is not in the catalogue, because the next layer would get a k-th of the channels.

    Args:
        pieces: Number k of channels that are merged into one, at least 1.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.

    Shape:
        - Input: `(N, k C, *)` or `(*, k C)`, any dtype, any strides.
        - Output: `(N, C, *)` or `(*, C)`, the input's dtype.

    Raises:
        BadParameter: If `pieces` is less than 1.
        ValueError: If the number of channels is no multiple of `pieces`.

    Source:
        Goodfellow, Warde-Farley, Mirza, Courville and Bengio, *Maxout Networks*, 2013.
        https://arxiv.org/abs/1302.4389
    """

    def __init__(self, pieces: int = 2, *, channel_dim: int = 1) -> None:
        super().__init__()
        if pieces < 1:
            raise BadParameter("maxout", "pieces", pieces, "at least 1")
        self.pieces = pieces
        self.channel_dim = channel_dim

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[self.channel_dim]
        if channels % self.pieces:
            raise ValueError(
                f"{self.pieces} channels are merged into one, but dimension {self.channel_dim} of "
                f"the input of shape {tuple(x.shape)} has {channels}"
            )
        dim = self.channel_dim % x.dim()
        shape = (*x.shape[:dim], channels // self.pieces, self.pieces, *x.shape[dim + 1 :])
        return x.reshape(shape).amax(dim + 1)

    def extra_repr(self) -> str:
        return f"{self.pieces}, channel_dim={self.channel_dim}"
