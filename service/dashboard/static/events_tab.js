// The events of a search, newest first.

import { follow } from "./api.js";
import { h } from "./dom.js";
import { paced } from "./pace.js";
import * as words from "./words.js";

const MOST = 500;
const DRAW_MS = 250;

export class Log {
  constructor(context) {
    this.context = context;
    this.events = [];
    this.act = {};
  }

  heard() {}

  // Continues from the last events with its own stream, which ends when the user leaves the tab.
  async look({ search }) {
    if (this.isFollowing) return;
    this.isFollowing = true;
    const { path, signal, draw } = this.context;
    const show = paced(DRAW_MS, async () => draw(), signal);
    const heard = (event) => {
      this.events.push(event);
      if (this.events.length > 2 * MOST) this.events.splice(0, MOST);
      show();
    };
    follow(`${path}/events`, { signal, after: Math.max(0, search.events - MOST), connected: () => {}, heard });
  }

  view({ search }) {
    const rows = this.events.slice(-MOST).reverse();
    return [
      h(
        "section",
        { class: "card", "data-key": "log", "aria-labelledby": "log-title" },
        h("div", { class: "section-head" }, h("h2", { id: "log-title" }, "Log"), h("p", { class: "soft" }, `${words.whole(search.events)} events; the latest ${words.whole(rows.length)} are shown`)),
        rows.length
          ? h("ol", { class: "log", tabindex: 0, "aria-labelledby": "log-title" }, rows.map((event) => h("li", { "data-key": `e${event.id}` }, h("span", { class: "soft number" }, event.id), event.data.at ? h("time", { class: "soft", datetime: event.data.at, title: words.wholeMoment(event.data.at) }, words.momentToSecond(event.data.at)) : h("span", {}), h("span", {}, tell(event)))))
          : h("p", { class: "soft" }, "Nothing yet."),
      ),
    ];
  }
}

function tell({ kind, data }) {
  if (kind === "search") return [`search is ${data.state}`, data.reason ? `: ${data.reason}` : ""].join("");
  if (kind === "trial" && data.number !== null && data.number !== undefined) {
    const value = data.value === null || data.value === undefined ? "" : `, ${words.value(data.value)}`;
    const why = data.reason ? `: ${data.reason}` : "";
    return [h("a", { href: `#/trial/${data.id}` }, `trial ${data.number}`), ` ${data.state}${value}${why}`];
  }
  if (kind === "report") return `trial ${data.number ?? ""} reported ${words.value(data.value)} after epoch ${data.step}`;
  return `${kind} ${data.state ?? ""}`;
}
