// What operators see: whether jobs flow, where they wait, what went wrong, and any job by any of its names.

import { ask, isAbort } from "./api.js";
import { announce, h, icon, show } from "./dom.js";
import { pause } from "./live.js";
import { history } from "./chart.js";
import { STATES, ago, duration, moment, number } from "./words.js";

const EACH = 3000; // milliseconds
const MOST = 10_000; // what the gateway counts up to
const SPANS = [["1h", "Last hour"], ["6h", "Last 6 hours"], ["24h", "Last day"]];
const STEPS = { waiting: "Waiting to be sent", making: "Being made", whole: "In all" };
const OUTCOMES = {
  accepted: "taken",
  refused: "refused",
  throttled: "throttled",
  blocked: "blocked",
  not_sent: "not sent",
  unknown: "no answer",
  under_way: "under way",
};

export function operationsPage(main, { signal }) {
  const parts = Object.fromEntries(
    ["sends", "figures", "chart", "latency", "queues", "trouble"].map((name) => [name, h("div", { id: name })]),
  );
  const span = h("select", { id: "span", "aria-label": "How far back", onchange: () => refresh() }, SPANS.map(([value, label]) => h("option", { value }, label)));
  const drawn = {}; // what each part shows, as text: only what changed is drawn again, so that nothing jumps
  let wake = () => {};

  function draw(name, value, ...content) {
    const text = JSON.stringify(value);
    if (drawn[name] === text) return;
    drawn[name] = text;
    show(parts[name], content.map((make) => make()));
  }

  async function refresh() {
    try {
      const found = await ask(`/api/operations/overview?span=${span.value}`, { signal });
      draw("trouble", null);
      draw("sends", found.sends, () => sends(found.sends, act));
      draw("figures", { ...found, at: null, history: null }, () => figures(found));
      draw("chart", found.history, () => history(found.history, found.span));
      draw("latency", [found.latency, found.outcomes], () => latency(found));
      draw("queues", found.broker, () => queues(found.broker, found.outbox));
      letters.know(found.broker?.dead_letters);
    } catch (error) {
      if (!isAbort(error)) draw("trouble", error.message, () => h("p", { class: "notice bad", role: "alert" }, error.message, " It is asked again in a moment."));
    }
  }

  async function act(path, json) {
    await ask(`/api/operations/${path}`, { method: "POST", json });
    announce(path === "pause" ? "Sends are paused" : "Sends go on");
    await refresh();
  }

  async function watch() {
    while (!signal.aborted) {
      if (document.visibilityState === "visible") await refresh();
      await Promise.race([pause(EACH, signal), new Promise((resolve) => (wake = resolve))]);
    }
  }

  const letters = deadLetters({ signal, replayed: refresh });
  document.addEventListener("visibilitychange", () => wake(), { signal });
  show(
    main,
    h("div", { class: "between" }, h("h1", {}, "Operations"), search(signal)),
    h("div", { id: "found" }),
    parts.trouble,
    parts.sends,
    parts.figures,
    h(
      "section",
      { class: "panel", "aria-labelledby": "chart-title" },
      h("div", { class: "between" }, h("h2", { id: "chart-title" }, "Jobs by when they were accepted"), span),
      parts.chart,
    ),
    h(
      "div",
      { class: "pair" },
      h("section", { class: "panel", "aria-labelledby": "latency-title" }, h("h2", { id: "latency-title" }, "How long it takes"), parts.latency),
      h("section", { class: "panel", "aria-labelledby": "queues-title" }, h("h2", { id: "queues-title" }, "Queues"), parts.queues),
    ),
    letters.element,
  );
  watch();
}

function sends(found, act) {
  const problem = h("p", { class: "problem", role: "alert" });
  const reason = h("input", { id: "pause-reason", maxlength: 255, placeholder: "Why, for the others", "aria-label": "Why sends are paused" });
  const guarded = (work) => async (event) => {
    event.preventDefault();
    await work().catch((error) => show(problem, icon("warning"), error.message));
  };
  const pauseForm = h(
    "form",
    { class: "address-line", onsubmit: guarded(() => act("pause", { reason: reason.value.trim() || "no reason given" })) },
    reason,
    h("button", { type: "submit" }, icon("pause"), "Pause sends"),
  );
  const resume = h("button", { type: "button", onclick: guarded(() => act("resume")) }, icon("play"), "Let sends go on");
  if (!found.is_stopped) {
    return h("section", { class: "notice good banner", "aria-label": "Sends" }, icon("check"), h("p", {}, h("b", {}, "Jobs are being sent.")), pauseForm, problem);
  }
  const next = found.next_try_at && !found.is_paused && `The next try is ${new Date(found.next_try_at) > new Date() ? `at ${new Date(found.next_try_at).toLocaleTimeString("en")}` : "under way"}.`;
  return h(
    "section",
    { class: "notice bad banner", "aria-label": "Sends", role: "alert" },
    icon("warning"),
    h(
      "div",
      {},
      h("p", {}, h("b", {}, "Nothing is sent to Kie.ai"), `, since ${moment(found.since)}. Jobs are accepted, and wait.`),
      h("p", { class: "reason" }, found.reason, next && h("span", { class: "hint" }, ` ${next}`)),
      problem,
    ),
    found.is_paused ? resume : pauseForm,
  );
}

const counted = (value) => (value >= MOST ? `${number(MOST)}+` : number(value));

function figures({ standing, sends: rate, vendor, callbacks, refunds_due: refunds, broker }) {
  const of = Object.fromEntries(standing.map((one) => [one.state, one]));
  const since = ({ oldest_at: at }) => (at ? `the oldest from ${ago(at)}` : "none");
  const lost = callbacks.finished ? (100 * callbacks.missing) / callbacks.finished : 0;
  return h(
    "dl",
    { class: "figures" },
    figure("Waiting", counted(of.pending.count), since(of.pending)),
    figure("At Kie.ai", counted(of.processing.count + of.submitting.count), since(of.processing)),
    figure("Being checked", counted(of.unknown.count), of.unknown.count ? since(of.unknown) : "no lost answers", of.unknown.count > 0),
    figure(
      "Send window",
      [`${rate.in_window}`, h("small", {}, ` of ${rate.window_limit}`)],
      h("meter", { min: 0, max: rate.window_limit, value: rate.in_window, "aria-label": "Used of the send window" }, `${rate.in_window}`),
    ),
    figure("Credits at Kie.ai", vendor.balance === null ? "—" : number(Math.round(vendor.balance)), vendor.balance_at ? `seen ${ago(vendor.balance_at)}` : "not asked yet"),
    figure("Callbacks lost", `${lost.toFixed(lost && lost < 10 ? 1 : 0)} %`, `${number(callbacks.missing)} of ${number(callbacks.finished)}`, lost > 5),
    figure("Refunds due", counted(refunds), refunds ? "not written yet" : "all are written", refunds > 0),
    figure("Dead letters", broker ? counted(broker.dead_letters) : "—", broker ? (broker.dead_letters ? "see below" : "none") : "the broker is away", !broker || broker.dead_letters > 0),
  );
}

function figure(name, value, hint, isBad = false) {
  return h("div", { class: isBad ? "panel bad" : "panel" }, h("dt", {}, name), h("dd", {}, h("span", { class: "figure" }, value), h("span", { class: "hint block" }, hint)));
}

function table(heads, rows) {
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, heads.map((head, index) => h("th", { scope: "col", class: index ? "number" : "" }, head)))),
    h("tbody", {}, rows.map(([first, ...others]) => h("tr", {}, h("th", { scope: "row" }, first), others.map((one) => h("td", { class: "number" }, one))))),
  );
}

function latency({ latency: steps, outcomes }) {
  const told = Object.entries(outcomes).map(([name, count]) => `${number(count)} ${OUTCOMES[name] ?? name}`);
  const rows = steps.map((one) => [STEPS[one.step], duration(one.p50), duration(one.p95), duration(one.p99)]);
  return [
    rows.length ? table(["Part of the way", "half", "95 %", "99 %"], rows) : h("p", { class: "empty" }, "No video was finished in this time."),
    h("p", { class: "hint" }, told.length ? `Sends: ${told.join(", ")}.` : "Nothing was sent in this time."),
  ];
}

function queues(broker, outbox) {
  const rest = h("p", { class: "hint" }, outbox ? `${counted(outbox)} messages wait in the outbox.` : "The outbox is empty.");
  if (!broker) return [h("p", { class: "notice bad" }, "The broker is away. Messages wait in the outbox."), rest];
  const rows = broker.queues.map((one) => [h("code", {}, one.queue.replace(/\.v\d+$/, "")), number(one.ready), number(one.retrying)]);
  return [table(["Queue", "ready", "to be retried"], rows), rest];
}

function search(signal) {
  const field = h("input", { id: "search", type: "search", placeholder: "Job, task, wallet or reference", "aria-label": "Search for a job", maxlength: 255 });
  async function find(event) {
    event.preventDefault();
    const place = document.getElementById("found");
    const text = field.value.trim();
    if (!text) return show(place);
    try {
      const { matches } = await ask(`/api/operations/search?${new URLSearchParams({ q: text })}`, { signal });
      show(place, results(text, matches));
      announce(`${matches.length} found`);
    } catch (error) {
      if (!isAbort(error)) show(place, h("p", { class: "notice bad", role: "alert" }, error.message));
    }
  }
  return h("form", { class: "address-line", role: "search", onsubmit: find }, field, h("button", { type: "submit" }, "Search"));
}

function results(text, matches) {
  if (!matches.length) return h("p", { class: "panel empty" }, `Nothing has the name “${text}”.`);
  return h(
    "section",
    { class: "panel", "aria-label": "Found" },
    h(
      "ul",
      { class: "rows" },
      matches.map(({ matched, task_id: task, job }) =>
        h(
          "li",
          {},
          h("a", { href: `#/videos/${job.id}`, dir: "auto" }, job.prompt.slice(0, 120) || "(no prompt)"),
          h("span", { class: `state ${job.state}` }, STATES[job.state]),
          h("span", { class: "hint" }, `by ${matched} · ${job.wallet_address} · ${ago(job.created_at)}${task ? ` · task ${task}` : ""}`),
        ),
      ),
    ),
  );
}

function deadLetters({ signal, replayed }) {
  const body = h("div", {}, h("p", { class: "empty" }, "Nothing failed every round."));
  const problem = h("p", { class: "problem", role: "alert" });
  let known = 0;

  async function load() {
    const { messages } = await ask("/api/operations/dead-letters", { signal });
    show(body, messages.length ? h("ul", { class: "rows" }, messages.map(letter)) : h("p", { class: "empty" }, "Nothing failed every round."));
  }

  function letter(message) {
    const again = async ({ target }) => {
      target.disabled = true;
      show(problem);
      try {
        await ask(`/api/operations/dead-letters/${encodeURIComponent(message.message_id)}/replay`, { method: "POST" });
        announce("The message was sent back to its queue");
      } catch (error) {
        show(problem, icon("warning"), error.message);
      }
      known = null;
      await replayed();
    };
    return h(
      "li",
      {},
      h("b", {}, message.reason),
      h("button", { type: "button", onclick: again }, "Replay"),
      h("span", { class: "hint break" }, message.queue, message.job_id && [" · ", h("a", { href: `#/videos/${message.job_id}` }, "its job")]),
      h("details", {}, h("summary", {}, "What it says"), h("pre", {}, message.body)),
    );
  }

  return {
    element: h("section", { class: "panel", id: "dead-letters", "aria-labelledby": "letters-title" }, h("h2", { id: "letters-title" }, "Dead letters"), problem, body),
    /** Look when their number changed: looking holds them back from everybody else. */
    know(count) {
      if (count === undefined || count === known) return;
      known = count;
      if (count) load().catch((error) => isAbort(error) || show(problem, icon("warning"), error.message));
      else show(body, h("p", { class: "empty" }, "Nothing failed every round."));
    },
  };
}
