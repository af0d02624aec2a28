"use strict";

/** Anything that the agent refused, or that kept it from being asked. */
class MeshError extends Error {
  constructor(message, { type, status, detail = message, field, problem, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.type = type;
    this.status = status;
    this.detail = detail;
    this.field = field;
    this.problem = problem;
  }
}

/** A lock or a leadership that could not be had or kept; `key` is the lock's key or the leader's group. */
class MeshLockError extends MeshError {
  constructor(message, { key, ...rest }) {
    super(message, rest);
    this.key = key;
  }
}

/** Somebody else held it until the wait was over. */
class MeshLockTimeoutError extends MeshLockError {}

/** It is not held any more: whatever it protects must not be touched now. */
class LockLostError extends MeshLockError {
  constructor(message, { reason, fence, ...rest }) {
    super(message, { type: "lost", ...rest });
    this.reason = reason;
    this.fence = fence;
  }
}

/** The error for a problem object (RFC 9457) of the agent. */
function refused(problem) {
  const { type = "about:blank", status, title, detail = title, field, remedy } = problem;
  const message = remedy ? `${detail} (${remedy})` : detail;
  return new MeshError(message, { type: type.slice(type.lastIndexOf("/") + 1), status, detail, field, problem });
}

/** The error for an agent that did not answer, or not in its own words. */
function unreachable(detail, cause) {
  return new MeshError(`the agent did not answer: ${detail}`, { type: "unreachable", detail, cause });
}

/** The error for an argument that needs no agent to be refused. */
function invalid(field, detail) {
  return new MeshError(`${field}: ${detail}`, { type: "invalid", field });
}

/** Whether asking again later may help. */
function isPassing(error) {
  return error instanceof MeshError && (error.type === "unreachable" || error.status === 429 || error.status >= 500);
}

module.exports = { MeshError, MeshLockError, MeshLockTimeoutError, LockLostError, refused, unreachable, invalid, isPassing };
