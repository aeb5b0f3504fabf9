// What every slot of every worker did, and when.

import { Figures } from "./figures.js";

export class Timeline {
  constructor(context) {
    this.figures = new Figures(context, ["timeline"]);
    this.act = this.figures.act;
  }

  heard(event) {
    this.figures.heard(event);
  }

  look() {
    return this.figures.look();
  }

  paint({ best }) {
    return this.figures.paint(best);
  }

  view() {
    return [
      this.figures.card("timeline", {
        title: "Who did what, and when",
        label: "A bar for every attempt, by worker and slot.",
        nothing: "The first attempt appears here.",
        note: "At most the last 1,000 attempts. Times are in your zone.",
      }),
    ];
  }
}
