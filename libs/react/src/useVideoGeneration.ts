import { useEffect, useMemo, useState, useSyncExternalStore } from "react";

import { IDLE, Session, type SessionOptions, type VideoState } from "./session.js";
import type { VideoParams } from "./types.js";

export type VideoGenerationOptions = SessionOptions;

export interface VideoGeneration extends VideoState {
  /** Have a video made. Resolves when it is accepted or refused; while one is made, it is that one. */
  generate: (params: VideoParams) => Promise<void>;
  /** Ask the gateway to take the job back; possible until it is sent. */
  cancel: () => Promise<void>;
  /** Forget the generation and show nothing of it; its job goes on. */
  reset: () => void;
}

const idle = () => IDLE;

/** Have a video made and follow it, through reloads and lost connections. */
export function useVideoGeneration(options: VideoGenerationOptions = {}): VideoGeneration {
  const [session] = useState(() => new Session(options));
  const state = useSyncExternalStore(session.subscribe, session.snapshot, idle);

  useEffect(() => {
    session.options = options;
  });
  useEffect(() => {
    session.start();
    return () => session.stop();
  }, [session]);

  const { generate, cancel, reset } = session;
  return useMemo(() => ({ ...state, generate, cancel, reset }), [state, generate, cancel, reset]);
}
