// Writes numbers, times and activations for people.

const MINUS = "\u2212";
const NONE = "\u2013";

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const second = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const grouped = new Intl.NumberFormat();
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function value(number) {
  if (number === null || number === undefined) return NONE;
  const text = Math.abs(number) >= 100 ? number.toPrecision(6) : number.toFixed(4);
  return text.replace("-", MINUS);
}

// A difference of two values: of fractions in points, else in the unit of the metric.
export function difference(number, points, { unit = true } = {}) {
  if (number === null || number === undefined) return NONE;
  const shown = Math.abs(points ? number * 100 : number).toFixed(points ? 2 : 4);
  const sign = Number(shown) === 0 ? "\u00b1" : number > 0 ? "+" : MINUS;
  return `${sign}${shown}${points && unit ? " points" : ""}`;
}

export function ratio(number) {
  return number === null || number === undefined ? NONE : `${number.toFixed(2)}\u00d7`;
}

export function stepTime(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms` : `${seconds.toFixed(2)} s`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const moment = (text) => day.format(new Date(text));
export const momentToSecond = (text) => second.format(new Date(text));
export const wholeMoment = (text) => full.format(new Date(text));

export const whole = (number) => grouped.format(number);

export function count(number, noun) {
  return `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function stateOf(search) {
  const ended = ["completed", "cancelled", "failed"].includes(search.state);
  if (search.wanted === "cancel" && !ended) return "cancelling";
  if (search.wanted === "pause" && search.progress.running > 0) return "pausing";
  return search.state;
}

export const hasEnded = (search) => ["completed", "cancelled", "failed"].includes(search.state);

export function taskOf(search) {
  const { name, dataset, network } = search.document.task;
  return network && dataset ? `${network} on ${dataset}` : name;
}

// Short: only the parameters that are numbers; `wholeActivation` writes all.
export function activation(spec) {
  const own = Object.values(spec.params ?? {}).filter((one) => typeof one === "number");
  return [spec.name, ...own, spec.share === "layer" ? "layer" : null].filter((one) => one !== null).join(" ");
}

export function wholeActivation(spec) {
  const given = Object.entries(spec.params ?? {}).filter(([, one]) => one !== null);
  const params = given.map(([name, one]) => (one === true ? name : one === false ? `no ${name}` : `${name} ${one}`).replaceAll("_", " "));
  if (spec.initial) params.push(`share ${spec.share}`, `starts as ${spec.initial}`);
  return [spec.name, ...params].join(", ");
}

// "the best of 12 equal networks".
export function equalNetworks(networks) {
  if (networks === 1) return "one equal network";
  return `the best of ${whole(networks)} equal networks`;
}

export const luckWords = (luck, networks) => `${equalNetworks(networks)} would show ${value(luck)} by luck`;

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(number, 1)) / 3));
  return `${(number / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

// What a search has used: GPU hours, or without a GPU the hours that it ran.
export function spent({ hours: ran, gpu_hours: gpu }) {
  if (gpu > 0) return `${hours(gpu)} of GPU time`;
  return ran > 0 ? `ran ${hours(ran)}` : null;
}

export function hours(number) {
  if (number < 1 / 60) return `${Math.round(number * 3600)} s`;
  return number < 0.1 ? `${(number * 60).toFixed(number * 60 < 10 ? 1 : 0)} min` : `${number.toFixed(number < 10 ? 1 : 0)} h`;
}
