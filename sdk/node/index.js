"use strict";

const { Cleanup } = require("./lib/cleanup.js");
const { Door } = require("./lib/door.js");
const { Leaders } = require("./lib/leaders.js");
const { Locks } = require("./lib/locks.js");
const { known } = require("./lib/options.js");
const { MeshError, MeshLockError, MeshLockTimeoutError, LockLostError } = require("./lib/errors.js");

/** The agent of this machine, as one instance of a service sees it. */
class Mesh {
  #door;

  constructor(options = {}) {
    const { agent = process.env.MESH_AGENT, tokenFile = process.env.MESH_TOKEN_FILE } = known(options, ["agent", "tokenFile"]);
    this.#door = new Door(agent, tokenFile);
    this.locks = new Locks(this.#door);
    this.leader = new Leaders(this.#door);
    this.cleanup = new Cleanup(this.locks, this.leader);
  }

  async self(options = {}) {
    return this.#door.read("/v1/self", options);
  }
}

module.exports = { Mesh, MeshError, MeshLockError, MeshLockTimeoutError, LockLostError };
