/** One generation: what is shown of it, and what outlives a reload. Knows no React. */

import { Client, type ClientOptions } from "./client.js";
import { JobFailedError, NetworkError, RequestError, type VideoError } from "./errors.js";
import type { VideoJob, VideoParams, VideoStatus } from "./types.js";

export interface SessionOptions extends ClientOptions {
  /** Where a running generation is remembered; default sessionStorage, null for nowhere. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** Under which name. Hooks that live side by side need names of their own. */
  storageKey?: string;
}

export interface VideoState {
  jobId: string | null;
  /** null until the gateway was heard. */
  status: VideoStatus | null;
  videoUrl: string | null;
  /** What went wrong, in words. */
  error: string | null;
  /** What went wrong, as a type. */
  errorDetail: VideoError | null;
  isGenerating: boolean;
  /** All that is known of the job. */
  job: VideoJob | null;
}

/** A request whose end is not known. Without a jobId not even its answer is: its key must be kept. */
interface Pending {
  key: string;
  body: string;
  at: number;
  jobId?: string;
  /** Its error was shown: without a click it is not sent again. */
  gaveUp?: boolean;
}

export const IDLE: VideoState = {
  jobId: null,
  status: null,
  videoUrl: null,
  error: null,
  errorDetail: null,
  isGenerating: false,
  job: null,
};

const DEFAULT_KEY = "reelgate.video";
const UNANSWERED_MS = 3_600_000; // nobody waits longer for an answer; the gateway keeps keys for a day

export class Session {
  readonly #client = new Client(() => this.options);
  readonly #listeners = new Set<() => void>();
  #state = IDLE;
  #pending: Pending | null = null;
  #run = new AbortController();
  #accepted: Promise<void> | null = null; // of the run that goes on now

  constructor(public options: SessionOptions) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): VideoState => this.#state;

  /** Go on with what a reload or an unmount interrupted. */
  start(): void {
    const pending = this.#accepted ? null : this.#recall();
    if (pending?.jobId || (pending && !pending.gaveUp)) void this.#go(pending);
  }

  /** Listen no more. The job goes on, and so does start(). */
  stop(): void {
    this.#run.abort();
    this.#accepted = null;
  }

  /** Have a video made; resolves when it is accepted or refused, and never rejects. One at a time. */
  readonly generate = (params: VideoParams): Promise<void> => {
    if (this.#accepted && this.#state.isGenerating) return this.#accepted; // a double click
    const body = JSON.stringify(params);
    const before = this.#recall();
    return this.#go(before?.body === body ? before : { key: newKey(), body, at: Date.now() });
  };

  /** Ask the gateway to take the job back; a refusal shows as error, and the job goes on. */
  readonly cancel = async (): Promise<void> => {
    await this.#accepted;
    const { signal } = this.#run;
    const { jobId, isGenerating } = this.#state;
    if (!jobId || !isGenerating) return;
    try {
      this.#show(await this.#client.cancel(jobId, signal));
    } catch (error) {
      if (!signal.aborted) this.#set(told(error));
    }
  };

  /** Forget the generation. Its job, if there is one, goes on. */
  readonly reset = (): void => {
    this.stop();
    this.#forget();
    this.#set(IDLE);
  };

  #go({ gaveUp: _, ...pending }: Pending): Promise<void> {
    this.#run.abort();
    this.#run = new AbortController();
    this.#remember(pending);
    this.#set({ ...IDLE, jobId: pending.jobId ?? null, isGenerating: true });
    this.#accepted = this.#accept(pending, this.#run.signal);
    return this.#accepted;
  }

  async #accept(pending: Pending, signal: AbortSignal): Promise<void> {
    try {
      const jobId = pending.jobId ?? (await this.#client.create(pending.body, pending.key, signal));
      if (signal.aborted) return; // the key finds it again
      this.#remember({ ...pending, jobId });
      if (!pending.jobId) this.#set({ jobId, status: "pending" });
      void this.#follow(jobId, signal);
    } catch (error) {
      this.#end(error, signal);
    }
  }

  async #follow(jobId: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.follow(jobId, (job) => !signal.aborted && this.#show(job), signal);
    } catch (error) {
      this.#end(error, signal);
    }
  }

  #show(job: VideoJob): void {
    if (job.version < (this.#state.job?.version ?? 0)) return; // overtaken by a cancel's answer
    const isGenerating = job.status === "pending" || job.status === "processing";
    if (!isGenerating) this.#forget();
    const error = job.status === "failed" ? told(new JobFailedError(job)) : isGenerating ? {} : told(null);
    this.#set({ job, jobId: job.id, status: job.status, videoUrl: job.video_url, isGenerating, ...error });
  }

  /** Nothing more will be heard. What may have been accepted is kept, so that the next try finds it. */
  #end(error: unknown, signal: AbortSignal): void {
    if (signal.aborted || !this.#state.isGenerating) return;
    const pending = this.#pending;
    const refused = error instanceof RequestError && !error.isTransient;
    const signedOut = refused && error.status === 401 && pending?.jobId;
    if (refused && !signedOut) this.#forget();
    else if (pending) this.#remember({ ...pending, gaveUp: true });
    this.#set({ ...told(error), isGenerating: false });
  }

  #set(change: Partial<VideoState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) listener();
  }

  // What outlives a reload -------------------------------------------------------------------------------

  #recall(): Pending | null {
    this.#pending ??= this.#stored((storage, key) => JSON.parse(storage.getItem(key) ?? "null") as Pending | null);
    const pending = this.#pending;
    if (pending && !pending.jobId && Date.now() - pending.at > UNANSWERED_MS) this.#forget();
    return this.#pending;
  }

  #remember(pending: Pending): void {
    this.#pending = pending;
    this.#stored((storage, key) => storage.setItem(key, JSON.stringify(pending)));
  }

  #forget(): void {
    this.#pending = null;
    this.#stored((storage, key) => storage.removeItem(key));
  }

  /** A storage that is full, forbidden or broken costs the reload, not the generation. */
  #stored<T>(use: (storage: NonNullable<SessionOptions["storage"]>, key: string) => T): T | null {
    const { storage, storageKey = DEFAULT_KEY } = this.options;
    if (storage === null) return null;
    try {
      return use(storage ?? sessionStorage, storageKey);
    } catch {
      return null;
    }
  }
}

function told(error: unknown): Pick<VideoState, "error" | "errorDetail"> {
  if (error === null) return { error: null, errorDetail: null };
  const isOurs = error instanceof RequestError || error instanceof JobFailedError || error instanceof NetworkError;
  const errorDetail = isOurs ? error : new NetworkError(error);
  return { error: errorDetail.message, errorDetail };
}

/** 128 bits; randomUUID would need a secure context, which a page on the local network has not. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
