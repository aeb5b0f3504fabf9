// What good values cost.

import { Figures } from "./figures.js";

export class Pareto {
  constructor(context) {
    this.figures = new Figures(context, ["pareto"]);
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
      this.figures.card("pareto", {
        title: "What good values cost",
        label: "Value against the time of a training step, for every completed network.",
        nothing: "The first completed trial appears here.",
        note: "Orange networks are beaten by no other in both. Times are the fastest epoch of each; what else ran on the machine blurs them.",
      }),
    ];
  }
}
