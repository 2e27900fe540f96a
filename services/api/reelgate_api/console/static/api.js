// The gateway's HTTP interface. The credential is kept in this tab's session storage, and nowhere else.

const KEPT = "reelgate.credential";

export const session = {
  get token() {
    return sessionStorage.getItem(KEPT);
  },
  set token(value) {
    if (value) sessionStorage.setItem(KEPT, value);
    else sessionStorage.removeItem(KEPT);
  },
  caller: null, // what the credential may do, as GET /api/auth/caller says it
  onrefused: () => {}, // called when the credential is not good any more
};

/** What the gateway said no with; `status` 0: it did not answer. */
export class ApiError extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? (status ? `The gateway answered ${status}.` : "The gateway does not answer. Is the network there?"));
    Object.assign(this, { status, code: body.code, field: body.field, retryAfter });
  }
}

/** The answer to a request, as it came. ApiError for everything that is no success. */
export async function call(path, { method = "GET", json, body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (session.token) sent.Authorization = `Bearer ${session.token}`;
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    const content = json === undefined ? body : JSON.stringify(json);
    answer = await fetch(path, { method, headers: sent, body: content, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0);
  }
  if (answer.ok || answer.status === 304) return answer;
  const problem = await answer.json().catch(() => ({}));
  const error = new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After")) || null);
  if (error.status === 401 && session.caller) session.onrefused(error);
  throw error;
}

/** The JSON of an answer; null where there is none. */
export async function ask(path, options) {
  const answer = await call(path, options);
  return answer.status === 204 ? null : answer.json();
}

/** A name for one submission. Also where the page has no TLS, and so no crypto.randomUUID. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether somebody left, rather than that something went wrong. */
export function isAbort(error) {
  return error.name === "AbortError";
}
