"""Functions of one number without learned parameters."""

from math import inf, nan

from search_space.catalog.entry import Entry, Parameter

_FIXED = "search_space.activations.fixed"
_STANDARD = "search_space.activations.standard"
_MODERN = "search_space.activations.modern"
_PERIODIC = "search_space.activations.periodic"

_GELU = "Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv 1606.08415"
_HARD = "Howard et al., Searching for MobileNetV3, ICCV, arXiv 1905.02244"
_CLEVERT = (
    "Clevert, Unterthiner and Hochreiter, Fast and Accurate Deep Network Learning by "
    "Exponential Linear Units, ICLR, arXiv 1511.07289"
)

ENTRIES = (
    Entry(
        "relu",
        f"{_FIXED}:ReLU",
        r"\max(x, 0)",
        "Nair and Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML",
        2010,
        standard=True,
    ),
    Entry(
        "silu",
        f"{_FIXED}:SiLU",
        r"x \, \sigma(x)",
        "Elfwing, Uchibe and Doya, Sigmoid-Weighted Linear Units, Neural Networks 107",
        2018,
        flops=11,
        standard=True,
    ),
    Entry(
        "gelu",
        f"{_FIXED}:GELU",
        r"x \, \Phi(x)",
        _GELU,
        2016,
        flops=14,
        standard=True,
    ),
    Entry(
        "gelu_tanh",
        f"{_FIXED}:GELUTanh",
        r"\tfrac{x}{2} (1 + \tanh(\sqrt{2/\pi} (x + 0.044715 x^3)))",
        _GELU,
        2016,
        flops=18,
        standard=True,
    ),
    Entry(
        "identity",
        f"{_STANDARD}:Identity",
        "x",
        "no paper: a layer without an activation",
        0,
        flops=0,
        kept=0,
        limits=(-inf, inf),
    ),
    Entry(
        "leaky_relu",
        f"{_STANDARD}:LeakyReLU",
        r"\max(x, 0) + a \min(x, 0)",
        "Maas, Hannun and Ng, Rectifier Nonlinearities Improve Neural Network Acoustic "
        "Models, ICML workshop",
        2013,
        parameters=(Parameter("negative_slope", 0.01, -10, 10, "slope a below 0"),),
        flops=2,
        limits=(-inf, inf),
    ),
    Entry(
        "elu",
        f"{_STANDARD}:ELU",
        r"x \text{ if } x > 0 \text{ else } \alpha (e^x - 1)",
        _CLEVERT,
        2015,
        parameters=(Parameter("alpha", 1.0, 0, 100, "minus the limit at minus infinity"),),
        flops=13,
        limits=(-1.0, inf),
    ),
    Entry(
        "selu",
        f"{_STANDARD}:SELU",
        r"\lambda (x \text{ if } x > 0 \text{ else } \alpha (e^x - 1)), \quad "
        r"\lambda = 1.0507, \alpha = 1.6733",
        "Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks, "
        "NeurIPS, arXiv 1706.02515",
        2017,
        flops=14,
        limits=(-1.7580993, inf),
    ),
    Entry(
        "celu",
        f"{_STANDARD}:CELU",
        r"\max(x, 0) + \min(0, \alpha (e^{x / \alpha} - 1))",
        "Barron, Continuously Differentiable Exponential Linear Units, arXiv 1704.07483",
        2017,
        parameters=(Parameter("alpha", 1.0, 0.01, 100, "minus the limit at minus infinity"),),
        flops=14,
        limits=(-1.0, inf),
    ),
    Entry(
        "softplus",
        f"{_STANDARD}:Softplus",
        r"\tfrac{1}{\beta} \log(1 + e^{\beta x}), \quad x \text{ where } \beta x > t",
        "Dugas, Bengio, Belisle, Nadeau and Garcia, Incorporating Second-Order Functional "
        "Knowledge for Better Option Pricing, NIPS",
        2000,
        parameters=(
            Parameter("beta", 1.0, 0.01, 100, "sharpness"),
            Parameter("threshold", 20.0, 1, 1000, "the line is taken beyond this beta x"),
        ),
        flops=24,
    ),
    Entry(
        "relu6",
        f"{_STANDARD}:ReLU6",
        r"\min(\max(x, 0), 6)",
        "Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10",
        2010,
        flops=2,
        limits=(0.0, 6.0),
    ),
    Entry(
        "hardswish",
        f"{_STANDARD}:Hardswish",
        r"x \min(\max(x + 3, 0), 6) / 6",
        _HARD,
        2019,
        flops=5,
    ),
    Entry(
        "mish",
        f"{_STANDARD}:Mish",
        r"x \tanh(\log(1 + e^x))",
        "Misra, Mish: A Self Regularized Non-Monotonic Activation Function, BMVC, arXiv 1908.08681",
        2019,
        flops=32,
    ),
    Entry(
        "sigmoid",
        f"{_STANDARD}:Sigmoid",
        r"\sigma(x) = 1 / (1 + e^{-x})",
        "Rumelhart, Hinton and Williams, Learning Representations by Back-Propagating "
        "Errors, Nature 323",
        1986,
        flops=10,
        limits=(0.0, 1.0),
        gate=True,
    ),
    Entry(
        "tanh",
        f"{_STANDARD}:Tanh",
        r"\tanh(x)",
        "LeCun, Bottou, Orr and Mueller, Efficient BackProp",
        1998,
        flops=10,
        limits=(-1.0, 1.0),
        gate=True,
    ),
    Entry(
        "hardsigmoid",
        f"{_STANDARD}:Hardsigmoid",
        r"\min(\max(x + 3, 0), 6) / 6",
        _HARD,
        2019,
        flops=4,
        limits=(0.0, 1.0),
        gate=True,
    ),
    Entry(
        "swish_fixed",
        f"{_MODERN}:FixedSwish",
        r"x \, \sigma(\beta x)",
        "Ramachandran, Zoph and Le, Searching for Activation Functions, arXiv 1710.05941",
        2017,
        parameters=(Parameter("beta", 1.0, -100, 100, "sharpness of the switch"),),
        flops=12,
        kept=8,
    ),
    Entry(
        "telu",
        f"{_MODERN}:TeLU",
        r"x \tanh(e^x)",
        "Fernandez and Mali, TeLU Activation Function for Fast and Stable Deep Learning, "
        "arXiv 2412.20269",
        2024,
        flops=21,
        kept=12,
    ),
    Entry(
        "golu",
        f"{_MODERN}:GoLU",
        r"x \alpha e^{-\beta e^{-\gamma x}}",
        "Das et al., Gompertz Linear Units: Leveraging Asymmetry for Enhanced Learning "
        "Dynamics, NeurIPS, arXiv 2502.03654",
        2025,
        parameters=(
            Parameter("alpha", 1.0, 0.01, 10, "limit of the gate"),
            Parameter("beta", 1.0, 0.01, 10, "where the gate opens"),
            Parameter("gamma", 1.0, 0.01, 10, "how fast the gate opens"),
        ),
        flops=25,
        kept=16,
    ),
    Entry(
        "relu_squared",
        f"{_MODERN}:ReLUSquared",
        r"\max(x, 0)^2",
        "So et al., Primer: Searching for Efficient Transformers for Language Modeling, "
        "NeurIPS, arXiv 2109.08668",
        2021,
        flops=2,
    ),
    Entry(
        "sine",
        f"{_PERIODIC}:Sine",
        r"\sin(\omega x)",
        "Sitzmann, Martel, Bergman, Lindell and Wetzstein, Implicit Neural Representations "
        "with Periodic Activation Functions, NeurIPS, arXiv 2006.09661",
        2020,
        parameters=(Parameter("omega", 30.0, 0.01, 1000, "frequency"),),
        flops=11,
        limits=(nan, nan),
    ),
)

STARTS = {entry.name: entry.name for entry in ENTRIES if entry.name != "sine"}
"""The starts of learned functions of any shape. Not the sine: its period is a fifth of a unit, and
no table of a few intervals can represent that."""
