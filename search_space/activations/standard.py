"""Torch's own activations other than those of `fixed`, by the names of the catalogue.

They are subclasses, so that code which looks for `nn.ELU` in a network still finds it, and are
never in place. All keep the shape and dtype of an input of any shape and strides.
"""

from torch import Tensor, nn


class Identity(nn.Identity):
    r"""The identity: no activation.

    .. math:: f(x) = x
    """

    def forward(self, x: Tensor) -> Tensor:
        # A view, because the result of an activation is never the input tensor itself.
        return x.view_as(x)


class LeakyReLU(nn.LeakyReLU):
    r"""Rectifier with a fixed slope below 0.

    .. math:: f(x) = \max(x, 0) + a \min(x, 0)

    Args:
        negative_slope: The slope a, dimensionless.

    Source:
        Maas, Hannun and Ng, *Rectifier Nonlinearities Improve Neural Network Acoustic
        Models*, 2013.
    """

    def __init__(self, *, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope)


class ELU(nn.ELU):
    r"""Exponential linear unit.

    .. math:: f(x) = x \text{ if } x > 0 \text{ else } \alpha (e^x - 1)

    Args:
        alpha: Minus the limit at minus infinity; the slope jumps at 0 unless it is 1.

    Source:
        Clevert, Unterthiner and Hochreiter, *Fast and Accurate Deep Network Learning by
        Exponential Linear Units*, 2015. https://arxiv.org/abs/1511.07289
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        super().__init__(alpha)


class SELU(nn.SELU):
    r"""Scaled exponential linear unit: mean 0 and variance 1 are a fixed point.

    .. math:: f(x) = \lambda (x \text{ if } x > 0 \text{ else } \alpha (e^x - 1))

    Source:
        Klambauer, Unterthiner, Mayr and Hochreiter, *Self-Normalizing Neural Networks*, 2017.
        https://arxiv.org/abs/1706.02515
    """

    def __init__(self) -> None:
        super().__init__()


class CELU(nn.CELU):
    r"""Exponential linear unit whose slope at 0 is 1 for every alpha.

    .. math:: f(x) = \max(x, 0) + \min(0, \alpha (e^{x / \alpha} - 1))

    Args:
        alpha: Minus the limit at minus infinity, above 0.

    Source:
        Barron, *Continuously Differentiable Exponential Linear Units*, 2017.
        https://arxiv.org/abs/1704.07483
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        super().__init__(alpha)


class Softplus(nn.Softplus):
    r"""Smooth rectifier.

    .. math:: f(x) = \tfrac{1}{\beta} \log(1 + e^{\beta x})

    Args:
        beta: Sharpness, above 0.
        threshold: Where `beta x` exceeds it, the result is `x`.

    Source:
        Dugas et al., *Incorporating Second-Order Functional Knowledge for Better Option
        Pricing*, 2000.
    """

    def __init__(self, *, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta, threshold)


class ReLU6(nn.ReLU6):
    r"""Rectifier that saturates at 6.

    .. math:: f(x) = \min(\max(x, 0), 6)

    Source:
        Krizhevsky, *Convolutional Deep Belief Networks on CIFAR-10*, 2010.
    """

    def __init__(self) -> None:
        super().__init__()


class Hardswish(nn.Hardswish):
    r"""Swish with a piecewise linear gate.

    .. math:: f(x) = x \min(\max(x + 3, 0), 6) / 6

    Source:
        Howard et al., *Searching for MobileNetV3*, 2019. https://arxiv.org/abs/1905.02244
    """

    def __init__(self) -> None:
        super().__init__()


class Mish(nn.Mish):
    r"""A smooth function that dips to -0.3088 at -1.1924.

    .. math:: f(x) = x \tanh(\log(1 + e^x))

    Source:
        Misra, *Mish: A Self Regularized Non-Monotonic Activation Function*, 2019.
        https://arxiv.org/abs/1908.08681
    """

    def __init__(self) -> None:
        super().__init__()


class Sigmoid(nn.Sigmoid):
    r"""Logistic function.

    .. math:: f(x) = 1 / (1 + e^{-x})

    Source:
        Rumelhart, Hinton and Williams, *Learning Representations by Back-Propagating Errors*,
        1986.
    """


class Tanh(nn.Tanh):
    r"""Hyperbolic tangent.

    .. math:: f(x) = \tanh(x)

    Source:
        LeCun, Bottou, Orr and Mueller, *Efficient BackProp*, 1998.
    """


class Hardsigmoid(nn.Hardsigmoid):
    r"""Logistic function made of three lines.

    .. math:: f(x) = \min(\max(x + 3, 0), 6) / 6

    Source:
        Howard et al., *Searching for MobileNetV3*, 2019. https://arxiv.org/abs/1905.02244
    """

    def __init__(self) -> None:
        super().__init__()
