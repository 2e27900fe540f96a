// How things are called, and how numbers and times are written.

export const STATES = {
  pending: "Waiting",
  submitting: "Sending",
  processing: "Being made",
  unknown: "Being checked",
  completed: "Ready",
  failed: "Failed",
  canceled: "Canceled",
};

export const MODELS = {
  veo3_fast: ["Fast", "Quick and good for most"],
  veo3: ["Quality", "The best picture, slower"],
  veo3_lite: ["Lite", "The least credits"],
};

export const MOVEMENTS = {
  charge: "Video",
  refund: "Refund",
  recharge: "Charged again: the video came after all",
  signup: "Welcome credits",
  grant: "Credits added",
  adjustment: "Correction",
};

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

export const number = (value) => (Math.abs(value) < 1_000_000 ? whole : compact).format(value);
export const credits = (value) => `${number(value)} ${Math.abs(value) === 1 ? "credit" : "credits"}`;
export const moment = (text) => exact.format(new Date(text));

/** "3 minutes ago". */
export function ago(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  return unit ? relative.format(Math.round(seconds / size), unit) : "just now";
}

/** "2 min 5 s"; below ten seconds with a tenth. */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
