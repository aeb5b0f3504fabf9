// Tabs with a single figure of the service.

import { FigureTab } from "./figures.js";

class Single extends FigureTab {
  constructor(context, name, texts) {
    super(context, [name]);
    this.name = name;
    this.texts = texts;
  }

  view() {
    return [this.figures.card(this.name, this.texts)];
  }
}

// The Pareto front: value against cost.
export class Pareto extends Single {
  constructor(context) {
    super(context, "pareto", {
      title: "What good values cost",
      label: "Value against the time of a training step, for every completed network.",
      nothing: "The first completed trial appears here.",
      note: "Orange networks are beaten by no other in both. Times are the fastest epoch of each; what else ran on the machine blurs them.",
    });
  }
}

// What each slot of each worker did, and when.
export class Timeline extends Single {
  constructor(context) {
    super(context, "timeline", {
      title: "Who did what, and when",
      label: "A bar for every attempt, by worker and slot.",
      nothing: "The first attempt appears here.",
      note: "At most the last 1,000 attempts. Times are in your zone.",
    });
  }
}
