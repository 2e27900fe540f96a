// The page people make videos on: the form, the video that is looked at, and all that were made.

import { h, show } from "./dom.js";
import { composer } from "./composer.js";
import { gallery } from "./gallery.js";
import { stage } from "./stage.js";

/** Draws the page; the function it returns shows another video on it. */
export function videosPage(main, { signal, videoId }) {
  const place = h("section", { id: "stage", class: "stage panel", "aria-label": "Video", tabindex: "-1", hidden: true });
  const list = gallery({ signal });
  const form = composer({
    signal,
    made: (id) => (location.hash = `#/videos/${id}`),
  });
  show(
    main,
    h("h1", { class: "unseen" }, "Create"),
    h("div", { class: "studio" }, form.element, h("div", { class: "results" }, place, list.element)),
  );

  let leaving = null;
  function go(id) {
    leaving?.abort();
    list.mark(id);
    place.hidden = !id;
    if (!id) return show(place);
    leaving = new AbortController();
    signal.addEventListener("abort", () => leaving.abort(), { once: true });
    stage(place, id, { signal: leaving.signal, changed: list.add, again: form.take });
    const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
    place.focus({ preventScroll: true });
    const { top } = place.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) place.scrollIntoView({ block: "start", behavior: reduced ? "auto" : "smooth" });
  }
  go(videoId);
  return go;
}
