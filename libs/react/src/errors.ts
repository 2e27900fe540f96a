/**
 * What can go wrong, as types.
 *
 *     VideoGenerationError        kind
 *     ├── RequestError            "request"   the gateway refused, and says why
 *     │   └── InsufficientCreditsError
 *     ├── JobFailedError          "job"       the job was accepted and brought no video
 *     └── NetworkError            "network"   no answer, or none that can be read
 */

import type { Failure, Problem, VideoJob } from "./types.js";

export abstract class VideoGenerationError extends Error {
  abstract readonly kind: "request" | "job" | "network";
}

/** The gateway refused the request. */
export class RequestError extends VideoGenerationError {
  readonly kind = "request";
  override readonly name: string = "RequestError";
  /** Stable name of the problem, such as `invalid_input` or `rate_limited`. */
  readonly code: string;
  /** The input that is wrong, if it is one. */
  readonly field: string | null;

  constructor(
    readonly status: number,
    readonly problem: Problem,
    /** When to try again, in seconds. */
    readonly retryAfter: number | null,
  ) {
    super(problem.error ?? problem.detail ?? `HTTP ${status}`);
    this.code = problem.code ?? `http_${status}`;
    this.field = problem.field ?? null;
  }

  /** Whether the same request may be answered otherwise in a moment; whether it was carried out is then not said. */
  get isTransient(): boolean {
    return this.status >= 500 || [408, 429].includes(this.status) || this.code === "idempotency_in_flight";
  }
}

/** The wallet's balance does not cover the price. */
export class InsufficientCreditsError extends RequestError {
  override readonly name = "InsufficientCreditsError";
  readonly balance: number | null = this.problem.balance ?? null;
  readonly cost: number | null = this.problem.cost ?? null;
}

/** The job was accepted, and ended without a video. */
export class JobFailedError extends VideoGenerationError {
  readonly kind = "job";
  override readonly name = "JobFailedError";
  /** Code, category, whether a retry may help, whether it cost, and advice; null from an older gateway. */
  readonly failure: Failure | null;

  constructor(readonly job: VideoJob) {
    super(job.error_message ?? "The video failed");
    this.failure = job.failure ?? null;
  }
}

/** No answer came, or none that can be read. */
export class NetworkError extends VideoGenerationError {
  readonly kind = "network";
  override readonly name = "NetworkError";

  constructor(why: unknown) {
    super("The gateway cannot be reached", { cause: why });
  }
}

/** What `errorDetail` may be; `kind` tells them apart. */
export type VideoError = RequestError | JobFailedError | NetworkError;
