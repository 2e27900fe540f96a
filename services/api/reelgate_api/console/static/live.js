// Live updates: server-sent events read with fetch, since EventSource cannot send a credential.

import { call } from "./api.js";

const SILENCE = 40_000; // the gateway says something each 15 s: a line that is quiet for longer is dead

/**
 * Tell every event of a stream until it ends, coming back after any trouble where it broke off.
 * Where streams do not get through, `poll` is called instead, now and then; true ends it all.
 */
export async function follow(path, { signal, tell, poll }) {
  for (let last, failures = 0; !signal.aborted; ) {
    try {
      const heard = (event) => {
        failures = 0;
        last = event.id ?? last;
        if (event.name !== "end") tell(event.name, event.data);
      };
      if (await listen(path, last, signal, heard)) return;
      failures += 1;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status !== 503 && error.status !== 502 && error.status !== 504) throw error;
      failures += 1;
    }
    if (failures > 1 && (await poll().catch(() => false))) return;
    await pause(1000 + 2000 * Math.random(), signal);
  }
}

/** One connection; true when everything was told. */
async function listen(path, last, signal, heard) {
  const line = new AbortController();
  const hangUp = () => line.abort();
  let silence = setTimeout(hangUp, SILENCE);
  signal.addEventListener("abort", hangUp);
  try {
    const answer = await call(path, { signal: line.signal, headers: last ? { "Last-Event-ID": last } : {} });
    if (answer.status === 204) return true;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", part; !(part = await reader.read()).done; ) {
      clearTimeout(silence);
      silence = setTimeout(hangUp, SILENCE);
      const blocks = (text + part.value).split("\n\n");
      text = blocks.pop();
      for (const event of blocks.map(parse)) {
        if (event.data === undefined) continue;
        heard(event);
        if (event.name === "end") return true;
      }
    }
    return false;
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", hangUp);
    hangUp();
  }
}

function parse(block) {
  const field = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
  return { name: field.event, id: field.id, data: field.data === undefined ? undefined : JSON.parse(field.data) };
}

/** Wait; at once when somebody leaves. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
