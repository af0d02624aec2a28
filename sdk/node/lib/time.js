"use strict";

const { invalid } = require("./errors.js");

/** The longest time that a timer of Node.js takes; a longer one would fire at once. */
const LONGEST_MS = 2 ** 31 - 1;

const UNITS = [["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]];

/** Milliseconds of a monotonic clock: setting the time of day does not move it. */
function now() {
  return performance.now();
}

/** Refuses what is not a time that a timer takes. */
function checkedMs(field, ms, least = 0, most = LONGEST_MS) {
  if (typeof ms === "number" && ms >= least && ms <= most) return ms;
  throw invalid(field, `${String(ms)} is not a number of milliseconds from ${least} to ${most}`);
}

/** `90500` as the wire has it: `1m30s500ms`. */
function duration(field, ms) {
  let rest = Math.ceil(checkedMs(field, ms));
  let text = "";
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text || "0s";
}

/** How long to wait before the next of several tries: from 50 ms, doubling to 500 ms, less up to a half by chance. */
function backoff(tries) {
  return Math.min(500, 50 * 2 ** Math.min(tries, 4)) * (1 - Math.random() / 2);
}

/** Settles as `promise` does, or rejects when the signal is aborted before. */
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}

/** A controller that is aborted with the first of the signals; `AbortSignal.any` holds on to what a long-lived signal was part of. */
function linked(...signals) {
  const controller = new AbortController();
  const links = signals.filter(Boolean).map((signal) => {
    const abort = () => controller.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    return () => signal.removeEventListener("abort", abort);
  });
  return { signal: controller.signal, abort: (reason) => controller.abort(reason), unlink: () => links.forEach((unlink) => unlink()) };
}

module.exports = { LONGEST_MS, now, checkedMs, duration, backoff, unlessAborted, linked };
