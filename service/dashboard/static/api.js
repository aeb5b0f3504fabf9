// The service, as this page talks to it.

const TOKEN = "actsearch-token";
const SILENCE_MS = 45_000; // The service says something at least every 15 s.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// The service could not be reached, or broke off.
export class Unreachable extends Error {}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  clear: () => sessionStorage.removeItem(TOKEN),
};

export async function get(path, signal) {
  const answer = await request("GET", path, { signal });
  return reach(answer.json(), signal);
}

export async function post(path, signal) {
  const headers = { "Content-Type": "application/json" };
  const answer = await request("POST", path, { signal, headers });
  return reach(answer.json(), signal);
}

// Follows a stream of events until `signal` ends it, through lost connections and restarts,
// from the one that follows number `after`.
// `connected(true)` is called at every connection, `connected(false)` at every loss.
export async function follow(path, { signal, after, connected, heard }) {
  let last = String(after);
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const event of stream(path, last, signal, () => {
        failures = 0;
        connected(true);
      })) {
        last = event.id ?? last;
        heard(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.name !== "AbortError" && !isPassing(error)) throw error;
    }
    if (signal.aborted) return;
    connected(false);
    await sleep(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures) * (0.75 + Math.random() / 2), signal);
    failures += 1;
  }
}

export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

// Whether it may go well when it is tried again.
export function isPassing(error) {
  return error instanceof Unreachable || (error instanceof Problem && error.status >= 500);
}

function reach(work, signal) {
  return work.catch((error) => {
    throw signal?.aborted ? error : new Unreachable(error.message);
  });
}

async function request(method, path, { signal, headers = {} } = {}) {
  const known = token.get();
  if (known) headers.Authorization = `Bearer ${known}`;
  const answer = await reach(fetch(`/v1${path}`, { method, headers, signal, cache: "no-store" }), signal);
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, problem.detail ?? `the service answered ${answer.status}`);
  }
  return answer;
}

// EventSource cannot send a token, so the stream is read here.
async function* stream(path, last, outer, opened) {
  const silence = new AbortController();
  let timer;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  try {
    listen();
    const headers = { Accept: "text/event-stream" };
    if (last !== null) headers["Last-Event-ID"] = last;
    const signal = AbortSignal.any([outer, silence.signal]);
    const answer = await request("GET", path, { signal, headers });
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reach(reader.read(), outer);
      if (done) return;
      listen();
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

function parse(block) {
  const event = { id: null, kind: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "id") event.id = value;
    if (field === "event") event.kind = value;
    if (field === "data") event.data += value;
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}
