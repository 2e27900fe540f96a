/** What goes over the wire, as far as a page needs it. */

export type VideoStatus = "pending" | "processing" | "completed" | "failed";

/** The body of POST /api/video/generate: the guide's four fields, and the gateway's own. */
export interface VideoParams {
  wallet_address: string;
  prompt?: string;
  /** 1-8 public URLs; none with generation_type TEXT_2_VIDEO. */
  image_urls?: string[];
  aspect_ratio?: "landscape" | "portrait" | "16:9" | "9:16" | "auto";
  model?: "veo3_fast" | "veo3" | "veo3_lite";
  generation_type?: "TEXT_2_VIDEO" | "FIRST_AND_LAST_FRAMES_2_VIDEO" | "REFERENCE_2_VIDEO";
  resolution?: "720p" | "1080p" | "4k";
  duration?: 4 | 6 | 8;
  watermark?: string;
  metadata?: Record<string, unknown>;
  client_reference_id?: string;
  seeds?: number;
  enable_translation?: boolean;
  /** Give up, and refund, what was not sent within so many seconds. */
  expires_in?: number;
}

/** Why a job did not deliver, and what can be done about it. */
export interface Failure {
  code: string;
  category: "input" | "content" | "vendor" | "capacity" | "timeout" | "canceled" | "internal";
  /** Whether the same request may work later. */
  retryable: boolean;
  /** Whether the credits are gone. */
  charged: boolean;
  /** One sentence for a person. */
  advice: string;
}

/** A job as its owner sees it. */
export interface VideoJob {
  id: string;
  status: VideoStatus;
  /** The finer state behind status. */
  state: string;
  /** Grows with every change. */
  version: number;
  wallet_address: string;
  prompt: string;
  image_urls: string[];
  aspect_ratio: string;
  model: string;
  resolution: string;
  duration: number;
  video_url: string | null;
  /** Whether the operator keeps a copy of his own; else Kie.ai alone has it. */
  video_kept?: boolean;
  /** When the video ends, at the latest; null also for one that is kept without end. */
  video_expires_at?: string | null;
  video_deleted_at?: string | null;
  error_message: string | null;
  failure_code: string | null;
  /** Missing in the answers of gateways before this was added. */
  failure?: Failure | null;
  /** Where it stands among those that wait to be sent. */
  queue_position?: number | null;
  /** When it is given up if it was not sent by then. */
  expires_at?: string | null;
  metadata: Record<string, unknown> | null;
  client_reference_id: string | null;
  /** Credits charged. */
  cost: number;
  /** Whether they were given back. */
  refunded: boolean;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
}

/** A problem document (RFC 9457) of the gateway. */
export interface Problem {
  title?: string;
  status?: number;
  detail?: string;
  /** Stable name of the problem. */
  code?: string;
  error?: string;
  /** The input that is wrong. */
  field?: string | null;
  /** With insufficient_credits: what the wallet has, and what the video costs. */
  balance?: number;
  cost?: number;
}
