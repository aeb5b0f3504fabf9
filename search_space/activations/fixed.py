"""The activations without parameters: torch's own, by the names of the catalogue.

They are subclasses, so that code which looks for `nn.ReLU` in a network still finds it.
"""

from torch import nn


class ReLU(nn.ReLU):
    r"""Rectified linear unit, never in place.

    .. math:: f(x) = \max(x, 0)

    Shape:
        - Input: `(*)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Source:
        Nair and Hinton, *Rectified Linear Units Improve Restricted Boltzmann Machines*, 2010.
    """

    def __init__(self) -> None:
        super().__init__(inplace=False)


class SiLU(nn.SiLU):
    r"""Sigmoid-weighted linear unit, never in place; Swish with a slope of 1.

    .. math:: f(x) = x \, \sigma(x)

    Shape:
        - Input: `(*)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Source:
        Elfwing, Uchibe and Doya, *Sigmoid-Weighted Linear Units*, 2018.
        https://arxiv.org/abs/1702.03118
    """

    def __init__(self) -> None:
        super().__init__(inplace=False)


class GELU(nn.GELU):
    r"""Gaussian error linear unit, exact.

    .. math:: f(x) = x \, \Phi(x)

    Shape:
        - Input: `(*)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Source:
        Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016.
        https://arxiv.org/abs/1606.08415
    """

    def __init__(self) -> None:
        super().__init__(approximate="none")


class GELUTanh(nn.GELU):
    r"""Gaussian error linear unit, approximated through the hyperbolic tangent.

    .. math:: f(x) = \tfrac{x}{2} (1 + \tanh(\sqrt{2/\pi} (x + 0.044715 x^3)))

    Shape:
        - Input: `(*)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Source:
        Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016.
        https://arxiv.org/abs/1606.08415
    """

    def __init__(self) -> None:
        super().__init__(approximate="tanh")
