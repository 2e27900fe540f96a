// The form: what the video shall be, what it costs, and sending it once.

import { ApiError, ask, isAbort, newKey, session } from "./api.js";
import { announce, h, icon, show } from "./dom.js";
import { picturesField } from "./pictures.js";
import { wallet } from "./wallet.js";
import { MODELS, credits } from "./words.js";

const LONGEST_PROMPT = 5000;
const SAME_CLICK = 2000; // milliseconds: the same form sent again within them is the other half of a double click

const RATIOS = [["16:9", "Landscape"], ["9:16", "Portrait"], ["Auto", "Auto"]];
const LENGTHS = [["4", "4 s"], ["6", "6 s"], ["8", "8 s"]];

export function composer({ signal, made }) {
  const prompt = h("textarea", {
    id: "prompt",
    rows: 5,
    maxlength: LONGEST_PROMPT,
    placeholder: "A paper boat sails down a rainy street, low camera, evening light",
    "aria-describedby": "prompt-count prompt-problem",
    oninput: () => draw(),
    onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && element.requestSubmit(),
  });
  const count = h("span", { class: "hint", id: "prompt-count" });
  const pictures = picturesField({ changed: () => draw(), signal });
  const choices = {
    aspect_ratio: choice("aspect_ratio", "Shape", RATIOS, "16:9"),
    model: choice("model", "Model", Object.entries(MODELS).map(([id, [name, hint]]) => [id, name, hint]), "veo3_fast"),
    resolution: choice("resolution", "Resolution", [["720p"], ["1080p"], ["4k", "4K"]], "720p"),
    duration: choice("duration", "Length", LENGTHS, "8"),
  };
  const price = h("output", { class: "price", id: "price" });
  const problem = h("div", { id: "send-problem", role: "alert" });
  const button = h("button", { class: "primary", id: "create", type: "submit" }, "Create video");
  const element = h(
    "form",
    { class: "composer panel", novalidate: true, onsubmit: submit, onchange: () => draw(), "aria-label": "New video" },
    h("h2", {}, "New video"),
    h(
      "div",
      { class: "field", "data-field": "prompt" },
      h("div", { class: "between" }, h("label", { for: "prompt" }, "What shall it show?"), count),
      prompt,
      h("p", { class: "problem", id: "prompt-problem" }),
    ),
    pictures.element,
    Object.values(choices).map((one) => one.element),
    problem,
    h("div", { class: "send" }, price, button),
  );
  let prices = null;
  let sent = null; // what was sent last, under which key, and when it was answered
  let sending = false;

  function body() {
    const urls = pictures.urls();
    const values = Object.fromEntries(Object.entries(choices).map(([name, one]) => [name, one.value]));
    const plain = { ...values, duration: Number(values.duration), prompt: prompt.value.trim(), wallet_address: wallet.address };
    return urls.length ? { ...plain, image_urls: urls } : { ...plain, generation_type: "TEXT_2_VIDEO" };
  }

  function cost() {
    const { model, resolution } = choices;
    return prices?.find((one) => one.operation === "generate" && one.model === model.value && one.resolution === resolution.value);
  }

  function draw() {
    show(count, prompt.value.length > LONGEST_PROMPT * 0.8 ? `${prompt.value.length} of ${LONGEST_PROMPT}` : "");
    const found = cost();
    const isShort = found && wallet.balance !== null && wallet.balance < found.credits;
    show(price, prices && (found ? credits(found.credits) : "Not for sale"), isShort && h("span", { class: "problem" }, `You have ${credits(wallet.balance)}`));
    const mayCreate = session.caller?.scopes.includes("jobs");
    button.disabled = sending || pictures.isBusy() || !found || !mayCreate;
    button.textContent = sending ? "Sending…" : pictures.isBusy() ? "Uploading…" : "Create video";
    if (!mayCreate) show(problem, h("p", { class: "notice" }, "This key may look, but not make videos."));
  }

  /** One key for one submission: sent again because its answer was lost, or by a double click, it is the same. */
  function keyFor(text) {
    const isAgain = sent?.text === text && (sent.at === null || performance.now() - sent.at < SAME_CLICK);
    if (!isAgain) sent = { text, key: newKey(), at: null };
    return sent;
  }

  async function submit(event) {
    event.preventDefault();
    if (sending || button.disabled) return;
    clear();
    if (!check()) return;
    const request = body();
    const mine = keyFor(JSON.stringify(request));
    sending = true;
    draw();
    try {
      const options = { method: "POST", json: request, headers: { "Idempotency-Key": mine.key } };
      const { job_id: id } = await ask("/api/video/generate", options);
      mine.at = performance.now();
      announce("Your video was accepted.");
      made(id);
      wallet.refresh();
    } catch (error) {
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 409) sent = null;
      refuse(error);
    } finally {
      sending = false;
      draw();
    }
  }

  function check() {
    if (!wallet.address) {
      show(problem, h("p", { class: "notice bad" }, "Enter the wallet that pays, at the top of the page."));
      document.getElementById("wallet")?.focus();
      return false;
    }
    if (!prompt.value.trim() && !pictures.urls().length) {
      refuse(new ApiError(400, { field: "prompt", detail: "Say what the video shall show." }));
      return false;
    }
    return true;
  }

  function clear() {
    show(problem);
    for (const place of element.querySelectorAll(".field .problem")) show(place);
    for (const input of element.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  }

  function refuse(error) {
    if (isAbort(error)) return;
    const name = error.field?.replace(/\[.*/, "");
    const field = name && element.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (!field) {
      const isUnsure = !error.status || error.status >= 500;
      const hint = isUnsure && " Nothing is lost: sending it again makes no second video.";
      show(problem, h("p", { class: "notice bad" }, error.message, hint));
      return;
    }
    show(field.querySelector(".problem"), icon("warning"), error.message);
    const input = field.querySelector("textarea, input");
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  /** Fill the form in as a video was asked for. */
  function take(job) {
    prompt.value = job.prompt;
    for (const [name, one] of Object.entries(choices)) one.value = String(job[name]);
    pictures.set(job.image_urls);
    draw();
    prompt.focus();
  }

  wallet.addEventListener("balance", draw, { signal });
  ask("/api/prices", { signal }).then(
    (list) => ((prices = list.prices), draw()),
    (error) => refuse(error),
  );
  draw();
  return { element, take };
}

/** A group of which one is chosen, with arrow keys as radio buttons are. */
function choice(name, legend, options, chosen) {
  const inputs = options.map(([value]) => h("input", { type: "radio", name, id: `${name}-${value}`, value, checked: value === chosen }));
  const element = h(
    "fieldset",
    { class: "field choice", "data-field": name },
    h("legend", {}, legend),
    h(
      "div",
      { class: "options" },
      options.map(([value, label = value, hint], index) =>
        h("label", { for: `${name}-${value}` }, inputs[index], h("span", {}, label, hint && h("small", {}, hint))),
      ),
    ),
    h("p", { class: "problem" }),
  );
  return {
    element,
    get value() {
      return inputs.find((input) => input.checked).value;
    },
    set value(wanted) {
      for (const input of inputs) input.checked = input.value === wanted;
      if (!inputs.some((input) => input.checked)) inputs[0].checked = true;
    },
  };
}
