export {
  InsufficientCreditsError,
  JobFailedError,
  NetworkError,
  RequestError,
  type VideoError,
  VideoGenerationError,
} from "./errors.js";
export type { VideoState } from "./session.js";
export type { Failure, Problem, VideoJob, VideoParams, VideoStatus } from "./types.js";
export { useVideoGeneration, type VideoGeneration, type VideoGenerationOptions } from "./useVideoGeneration.js";
