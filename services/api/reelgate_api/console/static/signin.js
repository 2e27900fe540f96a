// Signing in: with an API key, or with a wallet that lives in the browser.

import { ApiError } from "./api.js";
import { h, icon, show } from "./dom.js";
import { signWithWallet } from "./ethereum.js";

export function signInPage(main, { reason, enter }) {
  const problem = h("p", { class: "problem", id: "signin-problem", role: "alert" });
  const key = h("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "off",
    placeholder: "rg_live_…",
    required: true,
    "aria-describedby": "key-hint signin-problem",
  });
  const button = h("button", { class: "primary", type: "submit" }, "Sign in");

  async function tryTo(sign) {
    show(problem);
    button.disabled = true;
    try {
      await enter(await sign());
    } catch (error) {
      const isKey = error instanceof ApiError && error.status === 401;
      show(problem, icon("warning"), isKey ? "This key is unknown, revoked or expired." : error.message);
      key.setAttribute("aria-invalid", isKey);
      if (isKey) key.focus();
    } finally {
      button.disabled = false;
    }
  }

  const withKey = (event) => {
    event.preventDefault();
    tryTo(() => key.value.trim());
  };
  const withWallet =
    globalThis.ethereum &&
    h(
      "div",
      { class: "or" },
      h("span", {}, "or"),
      h("button", { type: "button", onclick: () => tryTo(signWithWallet) }, "Sign in with your wallet"),
    );
  show(
    main,
    h(
      "section",
      { class: "signin panel" },
      h("img", { src: "/console/icon.svg", alt: "", width: 44, height: 44 }),
      h("h1", {}, "Sign in to Reelgate"),
      reason && h("p", { class: "notice", role: "alert" }, reason),
      h(
        "form",
        { onsubmit: withKey, novalidate: true },
        h("label", { for: "key" }, "API key"),
        key,
        h("p", { class: "hint", id: "key-hint" }, "It stays in this tab, and is gone when the tab is closed."),
        problem,
        button,
      ),
      withWallet,
    ),
  );
  key.focus();
}
