// One video: how it goes while it is made, the player, or why there is none.

import { ask, isAbort } from "./api.js";
import { announce, h, icon, show, webAddress } from "./dom.js";
import { follow, pause } from "./live.js";
import { timeline } from "./timeline.js";
import { wallet } from "./wallet.js";
import { MODELS, STATES, credits, duration, moment } from "./words.js";

const STEPS = ["Waiting", "Being made", "Ready"];
const ASK_EACH = 4000; // milliseconds, for the place in the queue

export async function stage(place, id, { signal, changed, again }) {
  show(place, h("p", { class: "loading" }, "Loading…"));
  const path = `/api/video/jobs/${encodeURIComponent(id)}`;
  let job;
  try {
    ({ job } = await ask(path, { signal }));
  } catch (error) {
    if (!isAbort(error)) show(place, h("p", { class: "notice bad", role: "alert" }, error.message));
    return;
  }

  const body = h("div", {});
  const details = h("details", { class: "story", ontoggle: () => tell() }, h("summary", {}, "What happened, step by step"), h("div", {}));
  show(place, head(job, again), body, details, facts(job));

  function take(news) {
    if (signal.aborted || (news.version < job.version && news !== job)) return;
    const isNew = news.state !== job.state || news.refunded !== job.refunded;
    const isOther = kind(news) !== kind(job) || news === job || news.refunded !== job.refunded;
    job = { ...news, queue_position: news.queue_position ?? (news.state === "pending" ? job.queue_position : null) };
    changed(job);
    if (isNew) {
      announce(spoken(job));
      if (isOver(job)) wallet.refresh();
      if (details.open) tell();
    }
    if (isOther) show(body, view(job, cancel, failed));
    draw(body, job);
  }

  async function cancel(event) {
    event.target.disabled = true;
    try {
      await ask(`${path}/cancel`, { method: "POST" });
      take((await ask(path)).job);
    } catch (error) {
      show(body.querySelector(".problem"), icon("warning"), error.message);
    }
  }

  function failed() {
    const old = "The video does not load. Kie.ai keeps videos for 14 days; this one may be gone, or the network is away.";
    show(body, h("p", { class: "notice bad", role: "alert" }, old));
  }

  async function tell() {
    if (!details.open) return;
    const { events } = await ask(`${path}/timeline`, { signal });
    show(details.lastElementChild, timeline(events));
  }

  take(job);
  if (isOver(job)) return;
  const ticking = setInterval(() => draw(body, job), 1000);
  signal.addEventListener("abort", () => clearInterval(ticking));
  askForPlace();
  await follow(`${path}/events`, {
    signal,
    tell: (name, event) => take(event.job),
    poll: async () => (take((await ask(path, { signal })).job), isOver(job)),
  }).catch(() => {});
  clearInterval(ticking);

  async function askForPlace() {
    while (!signal.aborted && job.state === "pending") {
      await pause(ASK_EACH, signal);
      if (signal.aborted || job.state !== "pending") return;
      await ask(path, { signal }).then((answer) => take(answer.job), () => {});
    }
  }
}

function kind(job) {
  return { completed: "video", failed: "failure" }[job.status] ?? "progress";
}

/** Whether nothing more will happen. */
function isOver(job) {
  return job.status === "completed" || (job.status === "failed" && job.refunded);
}

function spoken(job) {
  const refund = job.status === "failed" && (job.refunded ? ` ${credits(job.cost)} were given back.` : ` ${job.failure?.advice ?? ""}`);
  return `${job.status === "completed" ? "Your video is ready" : STATES[job.state]}.${refund || ""}`;
}

function head(job, again) {
  return h(
    "div",
    { class: "head" },
    h("h2", { class: "prompt", dir: "auto" }, job.prompt),
    h("button", { type: "button", onclick: () => again(job) }, "Use again"),
    h("a", { class: "button quiet", href: "#/", "aria-label": "Close", title: "Close" }, icon("close")),
  );
}

function view(job, cancel, failed) {
  return { video: player, failure, progress }[kind(job)](job, cancel, failed);
}

function player(job, _, failed) {
  if (job.video_deleted_at) return h("p", { class: "notice" }, `The video was deleted on ${day(job.video_deleted_at)}.`);
  const url = webAddress(job.video_url);
  if (!url) return h("p", { class: "notice bad" }, "The address of this video cannot be used.");
  const video = h("video", {
    class: job.aspect_ratio === "9:16" ? "player tall" : "player",
    src: url,
    controls: true,
    playsinline: true,
    preload: "metadata",
    "aria-label": "The video",
    onerror: failed,
  });
  const link = h("a", { class: "button", href: url, download: true, target: "_blank", rel: "noopener noreferrer" }, "Open the file");
  const hint = h("p", { class: "hint" }, lasts(job));
  return [video, h("div", { class: "between" }, hint, link)];
}

/** How long the video is there. */
function lasts(job) {
  if (!job.video_expires_at) return "It is kept here.";
  const until = `until ${day(job.video_expires_at)}`;
  return job.video_kept ? `It is kept here ${until}.` : `Kie.ai keeps it ${until} at most. Save what you want to keep.`;
}

const day = (text) => new Date(text).toLocaleDateString("en", { dateStyle: "medium" });

function failure(job) {
  const isCanceled = job.state === "canceled";
  const said = job.error_message && job.error_message !== job.failure?.advice && !isCanceled;
  const money = job.refunded ? `${credits(job.cost)} were given back.` : `${credits(job.cost)} will be given back.`;
  return h(
    "div",
    { class: isCanceled ? "outcome calm" : "outcome" },
    h("h3", {}, icon(isCanceled ? "close" : "warning"), isCanceled ? "Canceled" : "There is no video"),
    said && h("p", { class: "reason", dir: "auto" }, job.error_message),
    !isCanceled && h("p", { class: "advice" }, job.failure?.advice),
    h("p", { class: "refund" }, icon(job.refunded ? "check" : "clock"), money),
  );
}

function progress(job, cancel) {
  return h(
    "div",
    { class: "progress" },
    h("ol", { class: "steps" }, STEPS.map((step) => h("li", {}, step))),
    h("div", { class: "between" }, h("p", { class: "now" }), h("span", { class: "hint elapsed", "aria-hidden": "true" })),
    h("p", { class: "problem", role: "alert" }),
    h("button", { class: "quiet cancel", type: "button", onclick: cancel }, "Cancel it"),
  );
}

/** What changes from second to second while it is made. */
function draw(body, job) {
  const now = body.querySelector(".now");
  if (!now) return;
  const current = job.state === "pending" || job.state === "submitting" ? 0 : 1;
  [...body.querySelectorAll(".steps li")].forEach((step, index) => {
    step.classList.toggle("done", index < current);
    if (index === current) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
  const text = sentence(job);
  if (now.textContent !== text) now.textContent = text;
  body.querySelector(".elapsed").textContent = duration((Date.now() - new Date(job.created_at)) / 1000);
  body.querySelector(".cancel").hidden = job.state !== "pending";
}

function sentence(job) {
  if (job.state === "pending") {
    const ahead = (job.queue_position ?? 1) - 1;
    if (job.queue_position === null) return "It waits to be sent.";
    return ahead >= 999 ? "1000 or more are ahead." : ahead ? `${ahead} ahead of it.` : "It is sent next.";
  }
  return {
    submitting: "It is being handed to Kie.ai.",
    processing: "Kie.ai makes the video. This takes a minute or two.",
    unknown: "Kie.ai's answer was lost. We are finding out whether it came through; if not, you get your credits back.",
  }[job.state];
}

function facts(job) {
  const rows = [
    ["Model", MODELS[job.model]?.[0] ?? job.model],
    ["Picture", `${job.aspect_ratio}, ${job.resolution}, ${job.duration} s`],
    ["Images", job.image_urls.length || "none"],
    ["Price", credits(job.cost)],
    ["Accepted", moment(job.created_at)],
    ["Id", h("code", {}, job.id)],
  ];
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
