// The life of one job as a picture, with the same in words below it.

import { h, svg } from "./dom.js";
import { STATES, duration, moment } from "./words.js";

const LANES = ["pending", "submitting", "unknown", "processing"];
const LABELS = 104;
const LANE = 30;
const LEAST = 4; // pixels: what took no time is still to be seen

export function timeline(events) {
  const start = new Date(events[0].at).getTime();
  const last = events.at(-1);
  const isOver = ["completed", "failed", "canceled"].includes(last.status);
  const end = Math.max(isOver ? new Date(last.at).getTime() : Date.now(), start + 1000);
  const place = h("div", { class: "timeline" });
  const draw = () => place.replaceChildren(picture(events, start, end, place.clientWidth || 560));
  new ResizeObserver(draw).observe(place);
  return [place, list(events, start)];
}

function picture(events, start, end, width) {
  const lanes = LANES.filter((lane) => events.some((event) => event.status === lane));
  const height = lanes.length * LANE + 24;
  const x = (at) => LABELS + ((new Date(at).getTime() - start) / (end - start)) * (width - LABELS - 8);
  const spans = spansOf(events, end);
  const bars = spans.filter((span) => lanes.includes(span.status)).map((span) => {
    const y = lanes.indexOf(span.status) * LANE;
    const length = Math.max(x(span.until) - x(span.at), LEAST);
    return svg(
      "rect",
      { class: `bar ${span.status}`, x: x(span.at), y: y + 7, width: length, height: LANE - 14, rx: 4 },
      svg("title", {}, `${STATES[span.status]}: ${duration((new Date(span.until) - new Date(span.at)) / 1000)}`),
    );
  });
  const labels = lanes.map((lane, index) => svg("text", { x: 0, y: index * LANE + LANE / 2 + 4 }, STATES[lane]));
  const last = events.findLast((event) => ["completed", "failed", "canceled"].includes(event.status));
  const mark = last && svg("line", { class: `end ${last.status}`, x1: x(last.at), x2: x(last.at), y1: 2, y2: height - 22 });
  const told = spans.map((span) => `${STATES[span.status]} ${duration((new Date(span.until) - new Date(span.at)) / 1000)}`);
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Time line: ${told.join(", ")}` },
    lanes.map((_, index) => svg("line", { class: "rule", x1: LABELS, x2: width, y1: index * LANE + LANE, y2: index * LANE + LANE })),
    ticks(start, end, x, height, width),
    bars,
    mark,
    labels,
  );
}

/** How long it was in each state, one after the other. */
function spansOf(events, end) {
  const changes = events.filter((event, index) => index === 0 || event.status !== events[index - 1].status);
  return changes
    .map((event, index) => ({ ...event, until: changes[index + 1]?.at ?? new Date(end).toISOString() }))
    .filter((span) => LANES.includes(span.status));
}

const ROUND = [0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];

function ticks(start, end, x, height, width) {
  const seconds = (end - start) / 1000;
  const most = Math.max(2, Math.floor((width - LABELS) / 80));
  const step = ROUND.find((one) => seconds / one <= most) ?? seconds;
  const marks = [];
  for (let at = 0; at <= seconds; at += step) {
    const left = x(start + at * 1000);
    if (left > width - 24 && at) break;
    marks.push(svg("line", { class: "rule", x1: left, x2: left, y1: 0, y2: height - 20 }));
    marks.push(svg("text", { class: "tick", x: left, y: height - 4, "text-anchor": at ? "middle" : "start" }, at ? short(at) : "0"));
  }
  return marks;
}

function short(seconds) {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function list(events, start) {
  return h(
    "ol",
    { class: "events" },
    events.map((event) =>
      h(
        "li",
        {},
        h("time", { datetime: event.at, title: moment(event.at) }, `+${duration((new Date(event.at) - start) / 1000)}`),
        h("span", {}, h("b", {}, event.event.replaceAll("_", " ")), h("span", { class: "hint" }, ` ${event.service}${event.attempt ? `, send ${event.attempt}` : ""}`)),
        event.reason && h("span", { class: "hint reason", dir: "auto" }, event.reason),
      ),
    ),
  );
}
