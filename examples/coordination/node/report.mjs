// The nightly task: reads the ledger, and tells what it has seen.
const state = await (await fetch(`${process.env.MESH_ROUTER_URL}/ledger`)).json();
const when = process.env.MESH_SCHEDULED_TIME ?? "asked for";
console.log(`report (${when}): ${state.writes} writes, the last by ${state.writer} with fence ${state.fence}; ${state.refused} late ones refused`);
