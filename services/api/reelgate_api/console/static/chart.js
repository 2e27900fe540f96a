// Jobs over time: a bar for each stretch, in the colours of the states they are in now.

import { h, svg } from "./dom.js";
import { STATES, number } from "./words.js";

const ORDER = ["completed", "processing", "submitting", "unknown", "pending", "canceled", "failed"]; // from below
const HEIGHT = 180;
const FOOT = 22;
const SIDE = 40;
const SECONDS = { "1h": 3600, "6h": 21600, "24h": 86400 };

export function history({ bucket_seconds: stretch, complete_since: since, buckets }, span) {
  if (!buckets.length) return h("p", { class: "empty" }, "No job was accepted in this time.");
  const place = h("div", { class: "chart" });
  const states = ORDER.filter((state) => buckets.some(({ counts }) => counts[state]));
  new ResizeObserver(() => place.replaceChildren(picture(buckets, states, stretch, SECONDS[span], place.clientWidth || 600))).observe(place);
  return [place, legend(buckets, states), numbers(buckets, states), since && h("p", { class: "hint" }, `More jobs than are counted: complete since ${new Date(since).toLocaleTimeString("en")}.`)];
}

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

function picture(buckets, states, stretch, seconds, width) {
  const end = Math.max(Date.now() / 1000, new Date(buckets.at(-1).at) / 1000 + stretch);
  const start = end - seconds;
  const most = Math.max(...buckets.map(({ counts }) => sum(counts)), 4);
  const top = HEIGHT - FOOT;
  const x = (at) => SIDE + ((at - start) / seconds) * (width - SIDE);
  const y = (count) => top - (count / most) * (top - 10);
  const step = ((width - SIDE) * stretch) / seconds;
  const bars = buckets.map(({ at, counts }) => {
    let below = 0;
    const left = Math.max(x(new Date(at) / 1000), SIDE);
    return svg(
      "g",
      {},
      svg("title", {}, `${clock(at)}: ${states.filter((state) => counts[state]).map((state) => `${counts[state]} ${STATES[state]}`).join(", ")}`),
      states.filter((state) => counts[state]).map((state) => {
        const [from, to] = [y(below), y((below += counts[state]))];
        return svg("rect", { class: `bar ${state}`, x: left, y: to, width: Math.max(step - 2, 2), height: Math.max(from - to - 1, 1) });
      }),
    );
  });
  const marks = [0, Math.ceil(most / 2), most].flatMap((count) => [
    svg("line", { class: "rule", x1: SIDE, x2: width, y1: y(count), y2: y(count) }),
    svg("text", { x: SIDE - 8, y: y(count) + 4, "text-anchor": "end" }, number(count)),
  ]);
  const times = [0, 0.25, 0.5, 0.75].map((part) =>
    svg("text", { x: SIDE + part * (width - SIDE), y: HEIGHT - 4, "text-anchor": part ? "middle" : "start" }, clock((start + part * seconds) * 1000)),
  );
  const told = states.map((state) => `${number(total(buckets, state))} ${STATES[state]}`).join(", ");
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": `Jobs: ${told}` }, marks, times, bars);
}

const clock = (at) => new Date(at).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
const total = (buckets, state) => buckets.reduce((all, { counts }) => all + (counts[state] ?? 0), 0);

function legend(buckets, states) {
  return h(
    "ul",
    { class: "legend" },
    states.map((state) => h("li", {}, svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: `bar ${state}`, width: 10, height: 10, rx: 2 })), `${STATES[state]} `, h("b", {}, number(total(buckets, state))))),
  );
}

function numbers(buckets, states) {
  return h(
    "details",
    {},
    h("summary", {}, "The same as a table"),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["From", ...states.map((state) => STATES[state])].map((word, index) => h("th", { scope: "col", class: index ? "number" : "" }, word)))),
      h("tbody", {}, buckets.map(({ at, counts }) => h("tr", {}, h("th", { scope: "row" }, clock(at)), states.map((state) => h("td", { class: "number" }, number(counts[state] ?? 0)))))),
    ),
  );
}
