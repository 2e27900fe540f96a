// The wallet's page: what is left, and what moved it.

import { ApiError, ask, isAbort } from "./api.js";
import { h, show } from "./dom.js";
import { wallet } from "./wallet.js";
import { MOVEMENTS, ago, credits, moment, number } from "./words.js";

export function walletPage(main, { signal }) {
  const balance = h("p", { class: "figure", id: "balance" }, "…");
  const rows = h("tbody");
  const table = h(
    "table",
    { class: "ledger" },
    h("caption", { class: "unseen" }, "Movements, the newest first"),
    h("thead", {}, h("tr", {}, ["What", "When", "Credits"].map((word) => h("th", { scope: "col" }, word)))),
    rows,
  );
  const more = h("div", { class: "more" });
  const body = h("div", {});
  let cursor = null;

  async function load() {
    const query = new URLSearchParams({ limit: 50, ...(cursor && { cursor }) });
    const button = more.querySelector("button");
    if (button) button.disabled = true;
    try {
      const page = await ask(`/api/wallets/${encodeURIComponent(wallet.address)}/ledger?${query}`, { signal });
      const before = rows.rows.length;
      rows.append(...page.entries.map(row));
      cursor = page.next_cursor;
      show(more, cursor && h("button", { type: "button", onclick: load }, "Load more"));
      show(body, rows.rows.length ? table : h("p", { class: "empty" }, "Nothing has moved yet."));
      if (before) rows.rows[before]?.querySelector("a, td")?.focus?.();
    } catch (error) {
      if (isAbort(error)) return;
      if (error instanceof ApiError && error.status === 404) {
        show(body, h("p", { class: "empty" }, "The gateway has not seen this wallet yet. Its first video opens it."));
        return;
      }
      const again = h("button", { type: "button", onclick: load }, "Try again");
      show(more, h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message), again));
    }
  }

  function draw() {
    show(balance, wallet.balance === null ? "—" : credits(wallet.balance));
  }

  show(
    main,
    h("h1", {}, "Wallet"),
    wallet.address
      ? h("section", { class: "panel wide" }, h("p", { class: "hint break" }, wallet.address), balance, h("h2", {}, "Ledger"), body, more)
      : h("p", { class: "empty" }, "Enter a wallet above to see its credits."),
  );
  if (!wallet.address) return;
  show(body, h("p", { class: "loading" }, "Loading…"));
  wallet.addEventListener("balance", draw, { signal });
  draw();
  wallet.refresh();
  load();
}

function row({ transaction_type: type, amount, job_id: jobId, description, created_at: at }) {
  const name = MOVEMENTS[type] ?? type;
  return h(
    "tr",
    {},
    h(
      "td",
      {},
      jobId ? h("a", { href: `#/videos/${jobId}` }, name) : name,
      description && h("span", { class: "hint block" }, description),
    ),
    h("td", {}, h("time", { datetime: at, title: moment(at) }, ago(at))),
    h("td", { class: amount > 0 ? "number gain" : "number" }, `${amount > 0 ? "+" : "−"}${number(Math.abs(amount))}`),
  );
}
