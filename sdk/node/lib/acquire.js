"use strict";

const { setTimeout: sleep } = require("node:timers/promises");

const { MeshLockTimeoutError, invalid, isPassing, refused, unreachable } = require("./errors.js");
const { Lease } = require("./lease.js");
const { ACQUIRE, checkedMetadata, checkedTtl, checkedWait, known } = require("./options.js");
const { LONGEST_MS, backoff, duration, linked, now, unlessAborted } = require("./time.js");

/** How much later than the end of a wait the agent may say so. */
const GRACE_MS = 5000;

/** What a lease is of, and where the agent has it. */
function lockOf(key) {
  return subjectOf("key", key, "/v1/locks", "lock");
}

function leadershipOf(group) {
  return subjectOf("group", group, "/v1/leaders", "leadership of");
}

function subjectOf(noun, name, path, title) {
  if (typeof name !== "string" || name === "") throw invalid(noun, "it is a text that is not empty");
  if (/\p{Surrogate}/u.test(name)) throw invalid(noun, "it has a half of a character, which is no UTF-8");
  return { noun, name, url: `${path}/${encodeURIComponent(name)}`, title: `${title} "${name}"` };
}

/**
 * Waits until the lease is ours; without `waitMs` that is without end.
 * The place in the queue is kept while connections break and the agent restarts.
 */
async function acquire(door, subject, options) {
  const { ttlMs = 30_000, waitMs, signal } = known(options, ACQUIRE);
  const ttl = duration("ttlMs", checkedTtl(ttlMs));
  const end = waitMs === undefined ? Infinity : now() + checkedWait(waitMs);
  const metadata = checkedMetadata(options.metadata);
  let ticket;
  let tries = 0;
  const onQueued = (queued) => {
    ticket = queued.ticket;
    tries = 0;
  };
  for (;;) {
    signal?.throwIfAborted();
    const left = Math.max(0, end - now());
    const wait = left === Infinity ? undefined : duration("waitMs", left);
    try {
      return await ask(door, subject, { ttl, wait, metadata, ticket }, { ttlMs, left, signal, onQueued });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error.type === "held") throw timedOut(subject, waitMs, error);
      if (error.type === "lost") ticket = undefined;
      else if (!isPassing(error)) throw error;
      const rest = end - now();
      if (rest <= 0) throw waitMs === 0 ? error : timedOut(subject, waitMs, error);
      await unlessAborted(sleep(Math.min(backoff(tries++), rest)), signal);
    }
  }
}

/** One request for the lease. When it fails, nothing stays held that nobody knows of. */
async function ask(door, subject, body, { ttlMs, left, signal, onQueued }) {
  const sent = now();
  const events = door.events("POST", subject.url, body);
  const granted = grantIn(events, onQueued);
  const limit = linked(signal);
  const silent = () => limit.abort(unreachable(`it was silent for ${GRACE_MS} ms after the end of the wait`));
  const timer = left < Infinity && setTimeout(silent, Math.min(left + GRACE_MS, LONGEST_MS));
  let fence;
  try {
    ({ fence } = await unlessAborted(granted, limit.signal));
  } catch (error) {
    events.hangUp();
    granted.then((late) => door.json("DELETE", `${subject.url}?fence=${late.fence}`)).catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
    limit.unlink();
  }
  // After a time in the queue only a renewal tells how long it is ours.
  const renewFirst = now() - sent >= ttlMs / 3;
  const lease = new Lease(door, subject, { ttlMs, fence, sent: renewFirst ? now() : sent, events });
  try {
    if (renewFirst) await lease.renew({ signal });
    return lease;
  } catch (error) {
    lease.release();
    throw error;
  }
}

/** The `acquired` of a stream. */
async function grantIn(events, onQueued) {
  for (let said; (said = await events.next()); ) {
    if (said.event === "acquired") return said.data;
    if (said.event === "queued") onQueued(said.data);
    if (said.event === "problem") throw refused(said.data);
  }
  throw unreachable("the connection ended");
}

function timedOut({ title, name }, waitMs, cause) {
  const { type, status, detail, problem } = cause;
  const message = waitMs === 0 ? `${title} is held by somebody else` : `${title} could not be had within ${waitMs} ms: ${detail}`;
  return new MeshLockTimeoutError(message, { key: name, type, status, detail, problem, cause });
}

module.exports = { acquire, lockOf, leadershipOf };
