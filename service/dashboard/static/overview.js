// The overview of a search: history, curves, rungs, ranking, and how far to trust them.

import { FigureTab } from "./figures.js";
import { h } from "./dom.js";
import { ranking } from "./ranking.js";
import * as words from "./words.js";

export class Overview extends FigureTab {
  constructor(context) {
    super(context, ["history", "intermediate", "rungs"]);
    this.showAll = false;
    this.act = {
      ...this.figures.act,
      ranked: () => {
        this.showAll = !this.showAll;
        context.draw();
      },
    };
  }

  view({ search, best }) {
    const known = search.best ? ` Best so far ${words.value(search.best.value)}.` : "";
    const none = "The first finished trial appears here.";
    return [
      this.figures.card("history", { title: "History", label: `Values of the trials in their order.${known}`, nothing: none }),
      h(
        "div",
        { class: "columns", "data-key": "curves" },
        this.figures.card("intermediate", { title: "Curves during training", label: "Values after each epoch, of the best and of other trials.", nothing: "The first report appears here." }),
        this.figures.card("rungs", { title: "How many trained on", label: "How many trials reached each epoch, and how many were stopped there.", nothing: "The first proposed trial appears here." }),
      ),
      ranking(search, best, this.showAll),
      best.notes.length ? trust(best.notes) : null,
    ];
  }
}

function trust(notes) {
  return h(
    "section",
    { class: "card", "data-key": "trust", "aria-labelledby": "trust-title" },
    h("h2", { id: "trust-title" }, "How far to trust it"),
    h("ul", { class: "sentences" }, notes.map((text) => h("li", {}, text))),
  );
}
