// The wallet the console works for: the credential's own, or the one that is typed.

import { ask, session } from "./api.js";
import { h, show } from "./dom.js";
import { credits } from "./words.js";

const KEPT = "reelgate.wallet";
const FORM = /^[\x21-\x7e]{1,128}$/;

class Wallet extends EventTarget {
  address = null;
  balance = null; // null: not known, or never seen by the gateway
  #own = null;
  #chip = h("a", { class: "balance", href: "#/wallet" });

  /** Take what a credential may act for. */
  begin(caller) {
    this.#own = caller.wallets;
    const kept = sessionStorage.getItem(KEPT);
    const mayKeep = kept && (!caller.wallets || caller.wallets.includes(kept));
    this.address = mayKeep ? kept : (caller.wallets?.[0] ?? null);
    this.refresh();
  }

  forget() {
    sessionStorage.removeItem(KEPT);
    this.address = this.balance = null;
  }

  choose(address) {
    if (address === this.address || (address && !FORM.test(address))) return;
    this.address = address || null;
    sessionStorage.setItem(KEPT, address);
    this.balance = null;
    this.refresh();
    this.dispatchEvent(new Event("change"));
  }

  /** Ask for the balance again. */
  async refresh() {
    const { address } = this;
    let balance = null;
    if (address) {
      const path = `/api/wallets/${encodeURIComponent(address)}`;
      balance = await ask(path).then(({ credits }) => credits, () => null);
    }
    if (address !== this.address || !session.caller) return;
    this.balance = balance;
    show(this.#chip, balance === null ? "" : credits(balance));
    this.dispatchEvent(new Event("balance"));
  }

  /** What the header shows: fixed, a choice, or a field. */
  control() {
    const choose = ({ target }) => {
      this.choose(target.value.trim());
      target.value = this.address ?? "";
    };
    const label = h("label", { for: "wallet", class: "unseen" }, "Wallet address");
    if (this.#own?.length === 1) return [h("span", { class: "address", title: this.address }, this.address), this.#chip];
    const field = this.#own
      ? h("select", { id: "wallet", onchange: choose }, this.#own.map((one) => h("option", {}, one)))
      : h("input", {
          id: "wallet",
          onchange: choose,
          placeholder: "Wallet address",
          maxlength: 128,
          autocomplete: "off",
          spellcheck: "false",
          autocapitalize: "off",
        });
    field.value = this.address ?? "";
    return [label, field, this.#chip];
  }
}

export const wallet = new Wallet();
