// Writes to the ledger while it holds the lock, and says when it leads.
import { setTimeout as sleep } from "node:timers/promises";
import { Mesh } from "../../../sdk/node/index.mjs";

const { MESH_INSTANCE: writer, MESH_ROUTER_URL: router } = process.env;
const mesh = new Mesh();
// What the router answers while no ledger runs: it is being replaced, or ends with all the rest.
const AWAY = [404, 502, 503, 504];

/** Whether to go on: the ledger has taken it, or is away for now. */
async function write(fence) {
  const body = JSON.stringify({ writer, fence });
  const answer = await fetch(`${router}/ledger`, { method: "POST", body, signal: AbortSignal.timeout(5000) });
  await answer.arrayBuffer();
  if (answer.status === 409) console.log(`the ledger has refused fence ${fence}: another has written since`);
  else if (!answer.ok && !AWAY.includes(answer.status)) throw new Error(`the ledger answered ${answer.status}`);
  return answer.status !== 409;
}

async function lead() {
  for (;;) {
    try {
      await mesh.leader.runWhenLeader("workers", { ttlMs: 5000, wait: true }, async ({ signal, fence }) => {
        console.log(`leads, with fence ${fence}`);
        await new Promise((lost) => signal.addEventListener("abort", lost, { once: true }));
        console.log("leads no more");
      });
    } catch (error) {
      console.log(`the lead: ${error.message}`);
      await sleep(1000);
    }
  }
}

async function work() {
  for (;;) {
    let held;
    try {
      await mesh.locks.runExclusive("ledger", { ttlMs: 5000, waitMs: 3_600_000 }, async ({ signal, fence }) => {
        held = fence;
        console.log(`holds the lock, with fence ${fence}`);
        while (!signal.aborted && (await write(fence))) await sleep(100);
      });
    } catch (error) {
      console.log(`the lock: ${error.message}`);
      // What a program does that was stopped between its last look at the lock and its write.
      if (held) await write(held).catch((late) => console.log(`the ledger: ${late.message}`));
      await sleep(100);
    }
  }
}

lead();
work();
