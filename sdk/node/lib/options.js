"use strict";

const { invalid } = require("./errors.js");
const { checkedMs } = require("./time.js");

/** The longest `ttlMs` and the longest `waitMs`. */
const LONGEST_LEASE_MS = 24 * 3_600_000;

const LEASE = ["ttlMs", "metadata", "signal"];
const ACQUIRE = [...LEASE, "waitMs"];
const CANCELLABLE = ["signal"];

/** The options as they are; refuses those that there are not, which would be ignored. */
function known(options, names) {
  if (options === null || typeof options !== "object") throw invalid("options", `it is an object, not ${String(options)}`);
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) throw invalid(unknown, `there is no such option here; there are ${names.join(", ")}`);
  return options;
}

function checkedTtl(ttlMs) {
  if (Number.isInteger(ttlMs / 1000) && ttlMs >= 1000 && ttlMs <= LONGEST_LEASE_MS) return ttlMs;
  throw invalid("ttlMs", `${String(ttlMs)} is not a number of milliseconds that are whole seconds, from 1000 to ${LONGEST_LEASE_MS}`);
}

function checkedWait(waitMs) {
  return checkedMs("waitMs", waitMs, 0, LONGEST_LEASE_MS);
}

function checkedMetadata(metadata) {
  if (metadata === undefined) return undefined;
  if (metadata === null || typeof metadata !== "object" || Array.isArray(metadata)) throw invalid("metadata", "it is an object");
  try {
    return JSON.parse(JSON.stringify(metadata));
  } catch (error) {
    throw invalid("metadata", `it cannot be written as JSON: ${error.message}`);
  }
}

module.exports = { ACQUIRE, CANCELLABLE, LEASE, known, checkedTtl, checkedWait, checkedMetadata };
