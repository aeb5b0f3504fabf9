// Calls of the service's HTTP API.

const SILENCE_MS = 45_000; // The service sends at least a comment every 15 s.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;
const MOST_LISTED = 500; // In one call.

// A problem document of the service; `faults` names the fields that are wrong.
export class Problem extends Error {
  constructor(status, detail, faults = []) {
    super(detail);
    this.status = status;
    this.faults = faults;
  }
}

// The service could not be reached, or the connection was lost.
export class Unreachable extends Error {}

// `cache` is `no-cache` for an answer with an entity tag: the browser asks if it has changed.
export async function get(path, signal, cache = "no-store") {
  const answer = await request("GET", path, { signal, cache });
  return reach(answer.json(), signal);
}

// The first `wanted` items of a list, page by page, and the cursor of the next page.
export async function list(path, given, wanted, signal) {
  const found = { items: [], next: null };
  do {
    const limit = Math.min(wanted - found.items.length, MOST_LISTED);
    const asked = Object.entries({ ...given, limit, cursor: found.next }).filter(([, value]) => value);
    const page = await get(`${path}?${new URLSearchParams(asked)}`, signal);
    found.items.push(...page.items);
    found.next = page.next;
  } while (found.next && found.items.length < wanted);
  return found;
}

export async function file(path, signal) {
  const answer = await request("GET", path, { signal });
  return answer.status === 202 ? null : reach(answer.blob(), signal);
}

export const post = (path, signal, body) => write("POST", path, signal, body);
export const patch = (path, signal, body) => write("PATCH", path, signal, body);
export async function put(path, signal, body) {
  const answer = await request("PUT", path, { signal, headers: { "Content-Type": "application/octet-stream" }, body });
  return reach(answer.json(), signal);
}

export const remove = (path, signal) => write("DELETE", path, signal);

async function write(method, path, signal, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await request(method, path, { signal, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await reach(answer.text(), signal);
  return text ? JSON.parse(text) : null;
}

// Follows a stream of events, from the one after number `after`, until `signal` ends it. It
// connects again after lost connections and restarts of the service.
// Calls `connected(true)` at each connection and `connected(false)` at each loss.
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

// Whether a retry may succeed.
export function isPassing(error) {
  return error instanceof Unreachable || (error instanceof Problem && error.status >= 500);
}

function reach(work, signal) {
  return work.catch((error) => {
    throw signal?.aborted ? error : new Unreachable(error.message);
  });
}

// The session is a cookie that no script can read, so requests must send it.
async function request(method, path, { signal, headers = {}, body, cache = "no-store" } = {}) {
  const answer = await reach(fetch(`/v1${path}`, { method, headers, signal, body, cache, credentials: "same-origin" }), signal);
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, problem.detail ?? `the service answered ${answer.status}`, problem.errors);
  }
  return answer;
}

// Not `EventSource`: it hides why a connection failed, and that no data comes any more.
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
