/** Reading server-sent events from a fetch, since EventSource cannot send an Authorization header. */

export interface ServerEvent {
  id?: string;
  event?: string;
  data?: string;
  retry?: string;
}

/** The events of a stream, in order; `heard` is called for all that comes, comments too. */
export async function* readEvents(
  stream: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<ServerEvent, void> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const blocks = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      text = blocks.pop() ?? "";
      for (const block of blocks) yield parse(block);
    }
  } finally {
    await reader.cancel().catch(() => undefined); // who stops reading closes the connection
  }
}

function parse(block: string): ServerEvent {
  const event: ServerEvent = {};
  for (const line of block.split(/\r?\n/)) {
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    if (name === "id" || name === "event" || name === "retry") event[name] = value;
  }
  return event;
}
