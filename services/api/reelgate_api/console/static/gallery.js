// All videos of a wallet, the newest first: read page by page, kept current by the wallet's stream.

import { ApiError, ask, isAbort } from "./api.js";
import { h, icon, show, webAddress } from "./dom.js";
import { follow } from "./live.js";
import { wallet } from "./wallet.js";
import { STATES, ago, moment } from "./words.js";

const PAGE = 24;
const FILTERS = [["", "All"], ["pending,processing", "Under way"], ["completed", "Ready"], ["failed", "Failed"]];

export function gallery({ signal }) {
  const grid = h("ul", { class: "grid" });
  const note = h("div", {});
  const more = h("div", { class: "more" });
  const filter = h(
    "select",
    { id: "filter", "aria-label": "Which videos", onchange: () => reset() },
    FILTERS.map(([value, label]) => h("option", { value }, label)),
  );
  const element = h(
    "section",
    { class: "gallery", "aria-labelledby": "gallery-title" },
    h("div", { class: "between" }, h("h2", { id: "gallery-title" }, "Your videos"), wallet.address && filter),
    note,
    grid,
    more,
  );
  const cards = new Map(); // job id → card
  let cursor = null;
  let round = 0; // of the list: what belongs to an earlier one is dropped
  let marked = null;
  let early = []; // what was heard before the first page was there; null: it is

  const inView = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => (inView.unobserve(target), target.load?.())),
    { rootMargin: "200px" },
  );
  signal.addEventListener("abort", () => inView.disconnect());

  function path(after) {
    const query = new URLSearchParams({ wallet_address: wallet.address, limit: PAGE });
    for (const status of filter.value.split(",").filter(Boolean)) query.append("status", status);
    if (after) query.set("cursor", after);
    return `/api/video/jobs?${query}`;
  }

  async function load() {
    const mine = round;
    const button = more.querySelector("button");
    if (button) button.disabled = true;
    try {
      const page = await ask(path(cursor), { signal });
      if (mine !== round) return;
      const first = page.jobs.map((job) => put(job))[0];
      if (cursor) first?.querySelector("a").focus();
      cursor = page.next_cursor;
      show(more, cursor && h("button", { type: "button", onclick: load }, "Load more"));
      draw();
      const heard = early ?? [];
      early = null;
      heard.forEach(add);
    } catch (error) {
      if (isAbort(error) || mine !== round) return;
      show(note);
      const again = h("button", { type: "button", onclick: load }, "Try again");
      show(more, h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message), again));
    }
  }

  function draw() {
    const empty = filter.value ? "No video is like that." : "No videos yet. What you make appears here.";
    show(note, cards.size === 0 && h("p", { class: "empty" }, icon("film"), empty));
  }

  function reset() {
    round += 1;
    cursor = null;
    early = [];
    cards.clear();
    show(grid);
    show(more);
    show(note, h("p", { class: "loading" }, "Loading…"));
    load();
  }

  /** Show a job that is new here, or how it stands now. */
  function put(job, before = null) {
    let card = cards.get(job.id);
    if (card && card.version >= job.version) return card.element;
    if (!card) {
      card = { element: h("li", { "data-id": job.id }), version: 0 };
      cards.set(job.id, card);
      grid.insertBefore(card.element, before);
    }
    card.version = job.version;
    fill(card.element, job);
    if (job.id === marked) mark(marked);
    return card.element;
  }

  /** Show what was heard of a job, unless it belongs to a page that was not read yet: ids are made in order. */
  function add(job) {
    if (early) return void early.push(job);
    const isListed = cards.has(job.id);
    const isWanted = !filter.value || filter.value.split(",").includes(job.status);
    const isFurtherDown = cursor && job.id < grid.lastElementChild?.dataset.id;
    if (job.wallet_address !== wallet.address || (!isListed && (!isWanted || isFurtherDown))) return;
    put(job, isListed ? null : [...grid.children].find((item) => item.dataset.id < job.id));
    draw();
  }

  /** Read the newest again: what happened before the stream began is not told by it. */
  async function renew() {
    (await ask(path(), { signal })).jobs.forEach(add);
  }

  function fill(item, job) {
    const picture = thumbnail(job);
    show(
      item,
      h(
        "a",
        { href: `#/videos/${job.id}`, class: `card ${job.status}` },
        picture,
        h("span", { class: "prompt", dir: "auto" }, job.prompt),
        h(
          "span",
          { class: "between" },
          h("span", { class: `state ${job.state}` }, STATES[job.state] ?? job.status),
          h("time", { class: "hint", datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at)),
        ),
      ),
    );
    if (picture.load) inView.observe(picture);
  }

  function mark(id) {
    marked = id;
    for (const link of grid.querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
    cards.get(id)?.element.querySelector("a").setAttribute("aria-current", "true");
  }

  async function listen() {
    const changes = { signal, poll: renew, tell: (name, event) => (name === "ready" ? renew() : event.job && add(event.job)) };
    await follow(`/api/wallets/${encodeURIComponent(wallet.address)}/events`, changes).catch((error) => {
      // A wallet that was never seen has no stream: its first job opens it.
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      wallet.addEventListener("balance", listen, { signal, once: true });
    });
  }

  if (wallet.address) {
    reset();
    listen();
  } else show(note, h("p", { class: "empty" }, icon("film"), "Enter a wallet above to see its videos."));
  return { element, add, mark };
}

/** A still of the video once it comes into view; a sign where there is none. */
function thumbnail(job) {
  const place = h("span", { class: `thumb ${job.aspect_ratio === "9:16" ? "tall" : ""}`, "aria-hidden": "true" });
  const url = job.video_url && webAddress(job.video_url);
  const isOver = job.video_expires_at && new Date(job.video_expires_at) < new Date();
  if (!url || isOver) {
    place.append(icon({ completed: "film", failed: "warning" }[job.status] ?? "clock"));
    return place;
  }
  place.append(icon("film"));
  place.load = () => {
    const gone = () => place.replaceChildren(icon("film"));
    const video = h("video", { src: `${url}#t=0.1`, preload: "metadata", muted: true, playsinline: true, tabindex: "-1", onerror: gone });
    show(place, video, icon("play"));
  };
  return place;
}
