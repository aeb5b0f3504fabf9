// The activations that are functions of one number. A test compares each with its implementation
// in Python.

const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const softplus = (x) => (x > 30 ? x : Math.log1p(Math.exp(x)));
const [SELU_SCALE, SELU_ALPHA] = [1.0507009873554805, 1.6732632423543772];

// The error function by Abramowitz and Stegun, 7.1.26, with an error of at most 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

const aconC = (x, { p1, p2, beta }) => (p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x;
const knob = (name, start, low, high, text = name) => ({ name, start, low, high, text });

export const FUNCTIONS = {
  relu: { at: (x) => Math.max(x, 0) },
  silu: { at: (x) => x * sigmoid(x) },
  gelu: { at: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)) },
  gelu_tanh: { at: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) },
  identity: { at: (x) => x },
  leaky_relu: { at: (x, { negative_slope: a }) => (x > 0 ? x : a * x), knobs: [knob("negative_slope", 0.01, -0.5, 1)] },
  elu: { at: (x, { alpha }) => (x > 0 ? x : alpha * Math.expm1(x)), knobs: [knob("alpha", 1, 0, 3)] },
  selu: { at: (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)) },
  celu: { at: (x, { alpha }) => (x > 0 ? x : alpha * Math.expm1(x / alpha)), knobs: [knob("alpha", 1, 0.05, 3)] },
  softplus: { at: (x, { beta }) => softplus(beta * x) / beta, knobs: [knob("beta", 1, 0.1, 10)] },
  relu6: { at: (x) => Math.min(Math.max(x, 0), 6) },
  hardswish: { at: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6 },
  mish: { at: (x) => x * Math.tanh(softplus(x)) },
  sigmoid: { at: sigmoid },
  tanh: { at: Math.tanh },
  hardsigmoid: { at: (x) => Math.min(Math.max(x + 3, 0), 6) / 6 },
  swish_fixed: { at: (x, { beta }) => x * sigmoid(beta * x), knobs: [knob("beta", 1, -5, 10)] },
  telu: { at: (x) => x * Math.tanh(Math.exp(x)) },
  golu: {
    at: (x, { alpha, beta, gamma }) => x * alpha * Math.exp(-beta * Math.exp(-gamma * x)),
    knobs: [knob("alpha", 1, 0.1, 3), knob("beta", 1, 0.1, 5), knob("gamma", 1, 0.1, 5)],
  },
  relu_squared: { at: (x) => Math.max(x, 0) ** 2 },
  sine: { at: (x, { omega }) => Math.sin(omega * x), knobs: [knob("omega", 30, 0.1, 40)] },
  acon_a: { at: (x, { beta }) => x * sigmoid(beta * x), knobs: [knob("beta", 1, -5, 20)] },
  acon_b: { at: (x, { p, beta }) => (1 - p) * x * sigmoid(beta * (1 - p) * x) + p * x, knobs: [knob("p", 0.25, -1, 1), knob("beta", 1, -5, 20)] },
  acon_c: { at: aconC, knobs: [knob("p1", 1, -2, 3), knob("p2", 0, -2, 3), knob("beta", 1, -5, 20)] },
  meta_acon: { at: aconC, knobs: [knob("p1", 1, -2, 3), knob("p2", 0, -2, 3), knob("beta", 0.5, 0, 1, "beta, from the sample")] },
  swish: { at: (x, { beta }) => x * sigmoid(beta * x), knobs: [knob("beta", 1, -5, 20)] },
  prelu: { at: (x, { slope }) => (x > 0 ? x : slope * x), knobs: [knob("slope", 0.25, -1, 1)] },
  star_relu: { at: (x, { s, b }) => s * Math.max(x, 0) ** 2 + b, knobs: [knob("s", 0.8944, 0, 2), knob("b", -0.4472, -2, 2)] },
  snake: { at: (x, { frequency: a }) => x + Math.sin(a * x) ** 2 / a, knobs: [knob("frequency", 1, 0.1, 10)] },
  xielu: {
    at: (x, { alpha_p: p, alpha_n: n }) => (x > 0 ? softplus(p) * x * x : (0.5 + softplus(n)) * (Math.expm1(x) - x)) + x / 2,
    knobs: [knob("alpha_p", Math.log(Math.expm1(0.8)), -3, 3), knob("alpha_n", Math.log(Math.expm1(0.3)), -3, 3)],
  },
};

// PWLU with four segments between -2 and 2, from the values at its knots and its outer slopes.
FUNCTIONS.pwlu = {
  at: (x, { y0, y1, y2, y3, y4, left_slope, right_slope }) => {
    const ys = [y0, y1, y2, y3, y4];
    if (x < -2) return y0 + left_slope * (x + 2);
    if (x >= 2) return y4 + right_slope * (x - 2);
    const i = Math.min(3, Math.floor(x + 2));
    return ys[i] + (x + 2 - i) * (ys[i + 1] - ys[i]);
  },
  knobs: [0, 1, 2, 3, 4].map((i) => knob(`y${i}`, Math.max(i - 2, 0), -3, 3, `value at ${i - 2}`)).concat([knob("left_slope", 0, -2, 2, "slope on the left"), knob("right_slope", 1, -2, 2, "slope on the right")]),
  marks: [-2, -1, 0, 1, 2],
};

FUNCTIONS.pwlu_free = FUNCTIONS.pwlu;

// The functions that a learned one is compared with.
const CLASSICS = ["relu", "leaky_relu", "silu", "gelu", "elu", "softplus", "mish", "hardswish", "relu_squared", "sigmoid", "tanh", "identity"];
const NAMES = { identity: "a straight line", relu_squared: "ReLU\u00b2", silu: "SiLU", gelu: "GELU", relu: "ReLU", elu: "ELU", leaky_relu: "leaky ReLU", mish: "Mish" };

export const defaults = (name) => Object.fromEntries((FUNCTIONS[name].knobs ?? []).map((one) => [one.name, one.start]));

export function values(name, xs, params = defaults(name)) {
  return xs.map((x) => FUNCTIONS[name].at(x, params));
}

// The slopes between neighbouring points, at their midpoints.
export function derivative(xs, ys) {
  const x = xs.slice(1).map((one, i) => (one + xs[i]) / 2);
  return { x, y: x.map((_, i) => (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i])) };
}

// The classic function nearest to a curve, up to scale and offset, weighted by the inputs.
// `known` is its name if the worker has stored it. `quality` is the share of the variance of the
// curve that it explains (R squared).
export function nearest(xs, ys, weights, known = null) {
  const fits = CLASSICS.map((name) => ({ name, text: NAMES[name] ?? name, ...fit(values(name, xs), ys, weights) }));
  const straight = fits.find((one) => one.name === "identity").quality;
  const best = fits.find((one) => one.name === known) ?? fits.reduce((top, one) => (one.quality > top.quality + 1e-9 ? one : top));
  return { ...best, straight };
}

function fit(base, ys, weights) {
  const total = weights.reduce((a, b) => a + b, 0) || 1;
  const mean = (values) => values.reduce((sum, value, i) => sum + weights[i] * value, 0) / total;
  const [middle, level] = [mean(base), mean(ys)];
  const spread = mean(base.map((one) => (one - middle) ** 2));
  const scale = spread ? mean(base.map((one, i) => (one - middle) * (ys[i] - level))) / spread : 0;
  const y = base.map((one) => scale * (one - middle) + level);
  const variance = mean(ys.map((one) => (one - level) ** 2));
  const left = mean(ys.map((one, i) => (one - y[i]) ** 2));
  return { y, scale, quality: variance > 1e-12 ? 1 - left / variance : 1 };
}
