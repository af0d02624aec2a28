"use strict";

const { setTimeout: sleep } = require("node:timers/promises");

const { acquire, leadershipOf } = require("./acquire.js");
const { invalid, isPassing, refused } = require("./errors.js");
const { whileHeld } = require("./lease.js");
const { nullIfHeld } = require("./locks.js");
const { ACQUIRE, CANCELLABLE, LEASE, known } = require("./options.js");
const { backoff, unlessAborted } = require("./time.js");

class Leaders {
  #door;

  constructor(door) {
    this.#door = door;
  }

  async elect(group, options = {}) {
    return acquire(this.#door, leadershipOf(group), options);
  }

  async tryElect(group, options = {}) {
    return nullIfHeld(this.elect(group, { ...known(options, LEASE), waitMs: 0 }));
  }

  async runWhenLeader(group, options, work) {
    if (work === undefined) return this.runWhenLeader(group, {}, options);
    if (typeof work !== "function") throw invalid("work", "it is a function");
    const { wait = false, ...rest } = known(options, [...ACQUIRE, "wait"]);
    const leadership = await (wait ? this.elect(group, rest) : this.tryElect(group, rest));
    return leadership && whileHeld(leadership, rest.signal, (signal) => work({ signal, fence: leadership.fence }));
  }

  async list(options = {}) {
    return (await this.#door.read("/v1/leaders", options)).items;
  }

  async *observe(group, options = {}) {
    const { signal } = known(options, CANCELLABLE);
    const { url } = leadershipOf(group);
    let seen = null;
    for (let tries = 0; ; ) {
      const events = this.#door.events("GET", url);
      try {
        for (let said; (said = await unlessAborted(events.next(), signal)); tries = 0) {
          if (said.event === "problem") throw refused(said.data);
          const leader = said.event === "leader" ? said.data : null;
          // A stream that was opened again begins with what has been told.
          if (leader?.fence === seen) continue;
          seen = leader?.fence;
          yield leader;
        }
      } catch (error) {
        if (signal?.aborted || !isPassing(error)) throw error;
      } finally {
        events.hangUp();
      }
      await unlessAborted(sleep(backoff(tries++)), signal);
    }
  }
}

module.exports = { Leaders };
