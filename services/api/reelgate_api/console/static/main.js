// The console's start: who is here, which page is shown, what the header says.

import { ApiError, ask, isAbort, session } from "./api.js";
import { announce, h, icon, show } from "./dom.js";
import { signInPage } from "./signin.js";
import { videosPage } from "./videos.js";
import { wallet } from "./wallet.js";
import { walletPage } from "./ledger.js";
import { operationsPage } from "./operations.js";

const header = document.getElementById("header");
const main = document.getElementById("main");

const PAGES = [
  { path: "", title: "Create", open: videosPage },
  { path: "wallet", title: "Wallet", open: walletPage },
  { path: "operations", title: "Operations", open: operationsPage, forAdmins: true },
];

let leaving = new AbortController();
let shown = null; // the page and its wallet: another video on the same page is that page's own matter

function pages() {
  return PAGES.filter((page) => !page.forAdmins || session.caller.is_admin);
}

function here() {
  const [first = "", second] = location.hash.replace(/^#\/?/, "").split("/");
  const page = pages().find(({ path }) => path === (first === "videos" ? "" : first)) ?? PAGES[0];
  return { page, videoId: first === "videos" ? second : null };
}

function open() {
  const { page, videoId } = here();
  const isSame = shown?.page === page && shown.wallet === wallet.address;
  drawNavigation(page);
  if (isSame) {
    shown.go?.(videoId);
    return;
  }
  const isFirst = shown === null;
  leaving.abort();
  leaving = new AbortController();
  document.title = `${page.title} · Reelgate`;
  shown = { page, wallet: wallet.address };
  shown.go = page.open(main, { signal: leaving.signal, videoId });
  if (!isFirst) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function drawNavigation(current) {
  const links = pages().map((page) =>
    h("a", { href: `#/${page.path}`, "aria-current": page === current ? "page" : null }, page.title),
  );
  show(header.querySelector("nav"), links);
}

function drawHeader() {
  const signOut = session.token && h("button", { class: "quiet", type: "button", onclick: leave }, "Sign out");
  show(
    header,
    h("a", { class: "brand", href: "#/" }, h("img", { src: "/console/icon.svg", alt: "", width: 28, height: 28 }), "Reelgate"),
    h("nav", { "aria-label": "Pages" }),
    h("div", { class: "who" }, wallet.control()),
    signOut,
  );
}

async function leave() {
  const isSession = session.caller?.is_session;
  const ended = isSession && ask("/api/auth/session", { method: "DELETE" }).catch(() => {});
  await ended;
  signedOut();
}

function signedOut(reason) {
  leaving.abort();
  session.caller = null;
  session.token = null;
  wallet.forget();
  shown = null;
  document.title = "Sign in · Reelgate";
  show(header);
  signInPage(main, { reason, enter });
}

/** Begin with this credential, or with the one that is kept. Throws when it is no good. */
async function enter(token) {
  const before = session.token;
  if (token !== undefined) session.token = token;
  try {
    session.caller = await ask("/api/auth/caller");
  } catch (error) {
    session.token = before;
    throw error;
  }
  wallet.begin(session.caller);
  drawHeader();
  open();
  announce("Signed in");
}

async function start() {
  show(main, h("p", { class: "loading" }, "Loading…"));
  try {
    await enter();
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      signedOut(session.token ? error.message : undefined);
      return;
    }
    const again = h("button", { type: "button", onclick: start }, "Try again");
    show(main, h("div", { class: "notice bad", role: "alert" }, icon("warning"), h("p", {}, error.message), again));
  }
}

session.onrefused = () => signedOut("This credential is not good any more. Sign in again.");
addEventListener("hashchange", () => session.caller && open());
wallet.addEventListener("change", () => session.caller && open());
addEventListener("unhandledrejection", (event) => isAbort(event.reason ?? {}) && event.preventDefault());
start();
