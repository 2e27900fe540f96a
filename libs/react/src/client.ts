/** The gateway over HTTP: creating, canceling and following a job. Knows no React. */

import { InsufficientCreditsError, NetworkError, RequestError } from "./errors.js";
import { readEvents } from "./events.js";
import { Watchdog, backoff, sleep } from "./timing.js";
import type { Problem, VideoJob } from "./types.js";

export interface ClientOptions {
  /** Where the gateway is, or a server of your own that passes on to it; default: where the page came from. */
  baseUrl?: string;
  /** The credential for the next request, such as a sign-in's `rgs_…` token; asked before each one. */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>;
  /** Instead of the browser's, to add credentials or headers. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

interface Answer {
  headers: Headers;
  /** null for 304. */
  data: { job_id?: string; job?: VideoJob } | null;
}

const ANSWER_MS = 30_000;
const TRIES = 5; // of a request somebody waits for; following a job has no end of tries
const LONGEST_WAIT_MS = 10_000; // a gateway that says "later than that" has answered
const FIRST_WORD_MS = 5_000; // a stream begins to speak at once, unless something on the way collects it
const SILENCE_MS = 40_000; // keep-alives come each 15 s
const COME_BACK_MS = 3_000; // until the stream says otherwise
const POLL_MS = 2_000; // the guide's interval
const LONG_POLL_SECONDS = 25; // below the 30 s at which many proxies give up

export class Client {
  constructor(private readonly options: () => ClientOptions) {}

  /** Have a job accepted; its id. The same key again is the same job, so lost answers are asked for again. */
  async create(body: string, key: string, signal: AbortSignal): Promise<string> {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    return this.#persist(signal, async () => {
      const { data } = await this.#call("/api/video/generate", { method: "POST", headers, body }, signal);
      if (!data?.job_id) throw new NetworkError("no job_id in the answer");
      return data.job_id;
    });
  }

  /** Take a job back before it is sent; how it stands then. */
  async cancel(id: string, signal: AbortSignal): Promise<VideoJob> {
    return this.#persist(signal, async () => {
      const { data } = await this.#call(`/api/video/jobs/${id}/cancel`, { method: "POST" }, signal);
      if (!data?.job) throw new NetworkError("no job in the answer");
      return data.job;
    });
  }

  /** Tell every change of a job until it is delivered or refunded: by its stream, or where none comes by polling. */
  async follow(id: string, tell: (job: VideoJob) => void, signal: AbortSignal): Promise<void> {
    if (!(await this.#stream(id, tell, signal))) await this.#poll(id, tell, signal);
  }

  /** Whether the stream told all. A line that breaks is taken up again; a stream that says nothing is given up. */
  async #stream(id: string, tell: (job: VideoJob) => void, signal: AbortSignal): Promise<boolean> {
    let last: string | undefined;
    for (let pause = COME_BACK_MS; ; await sleep(pause, signal)) {
      let heard = false;
      const watchdog = new Watchdog(signal, FIRST_WORD_MS);
      try {
        const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
        const response = await this.#open(`/api/video/jobs/${id}/events`, { headers }, watchdog.signal);
        if (response.status === 204) return true;
        if (!response.ok || !response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
          watchdog.abort(); // leave nothing open; why it was refused, polling will learn
          return false;
        }
        const listen = () => {
          heard = true;
          watchdog.allow(SILENCE_MS);
        };
        for await (const { id, event, data, retry } of readEvents(response.body, listen)) {
          last = id || last;
          pause = Number(retry) || pause;
          if (event === "end") return true;
          const job = data && (JSON.parse(data) as { job?: VideoJob }).job;
          if (job) tell(job);
        }
      } catch {
        signal.throwIfAborted(); // anything else: the line broke
      } finally {
        watchdog.end();
      }
      if (!heard) return false;
    }
  }

  async #poll(id: string, tell: (job: VideoJob) => void, signal: AbortSignal): Promise<void> {
    let etag: string | null = null;
    for (let failures = 0; ; ) {
      const asked = performance.now();
      let pause: number;
      try {
        const path = `/api/video/jobs/${id}${etag ? `?wait=${LONG_POLL_SECONDS}` : ""}`;
        const headers: HeadersInit = etag ? { "If-None-Match": etag } : {};
        const answer = await this.#call(path, { headers }, signal);
        failures = 0;
        etag = answer.headers.get("ETag");
        if (answer.data?.job) tell(answer.data.job);
        if (answer.data?.job && isSettled(answer.data.job)) return;
        // A long poll took its time; whatever came sooner is not asked again before this.
        pause = (retryAfter(answer.headers) ?? POLL_MS) - (performance.now() - asked);
      } catch (error) {
        pause = again(error, failures++, signal);
      }
      await sleep(pause, signal);
    }
  }

  /** Repeat while there is hope in it, some times. */
  async #persist<T>(signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    for (let failures = 0; ; ) {
      try {
        return await request();
      } catch (error) {
        const pause = again(error, failures++, signal);
        if (failures === TRIES || pause > LONGEST_WAIT_MS) throw error;
        await sleep(pause, signal);
      }
    }
  }

  /** One request and its whole answer; a RequestError if it was refused, a NetworkError if none came. */
  async #call(path: string, init: RequestInit, signal: AbortSignal): Promise<Answer> {
    const watchdog = new Watchdog(signal, ANSWER_MS);
    try {
      const response = await this.#open(path, init, watchdog.signal);
      const text = await response.text();
      if (response.ok) return { headers: response.headers, data: JSON.parse(text) as Answer["data"] };
      if (response.status === 304) return { headers: response.headers, data: null };
      throw refusal(response, text);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof RequestError ? error : new NetworkError(error);
    } finally {
      watchdog.end();
    }
  }

  async #open(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const { baseUrl = "", getToken, fetch: send = fetch } = this.options();
    const headers = new Headers(init.headers);
    const token = await getToken?.();
    if (token) headers.set("Authorization", `Bearer ${token}`);
    signal.throwIfAborted();
    return send(baseUrl.replace(/\/$/, "") + path, { ...init, headers, signal, cache: "no-store" });
  }
}

/** How long to wait before trying again; throws the error where that would not help. */
function again(error: unknown, failures: number, signal: AbortSignal): number {
  signal.throwIfAborted();
  if (error instanceof RequestError && error.isTransient) {
    return Math.max((error.retryAfter ?? 0) * 1000, backoff(failures));
  }
  if (error instanceof NetworkError) return backoff(failures);
  throw error;
}

function refusal(response: Response, text: string): RequestError {
  let problem: Problem = {};
  try {
    problem = (JSON.parse(text) as Problem | null) ?? {};
  } catch {
    // not from the gateway: the status has to do
  }
  const wait = retryAfter(response.headers);
  const kind = problem.code === "insufficient_credits" ? InsufficientCreditsError : RequestError;
  return new kind(response.status, problem, wait === null ? null : wait / 1000);
}

/** In milliseconds; null where the header is missing, or hidden from a page of another origin. */
function retryAfter(headers: Headers): number | null {
  const seconds = Number(headers.get("Retry-After") || NaN);
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** Whether nothing more is to be expected. */
function isSettled(job: VideoJob): boolean {
  return job.status === "completed" || (job.status === "failed" && job.refunded);
}
