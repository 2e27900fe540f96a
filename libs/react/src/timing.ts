/** Waiting, so that an AbortSignal ends it. */

/** Resolve after so long; reject at once when the signal aborts. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** Doubling from half a second to half a minute, each page at another time. */
export function backoff(failures: number): number {
  return Math.min(30_000, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** A signal that aborts with its parent, or when nothing happened for so long. */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #stop = () => this.#controller.abort(this.parent.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly parent: AbortSignal,
    milliseconds: number,
  ) {
    parent.addEventListener("abort", this.#stop, { once: true });
    if (parent.aborted) this.#stop();
    this.allow(milliseconds);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something happened: count anew. */
  allow(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(new Error("nothing came in time")), milliseconds);
  }

  abort(): void {
    this.#controller.abort();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.parent.removeEventListener("abort", this.#stop);
  }
}
