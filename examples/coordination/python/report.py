"""The nightly task: reads the ledger, and tells what it has seen."""
import json
import os
import urllib.request

LEDGER = os.environ.get("LEDGER") or os.environ["MESH_ROUTER_URL"] + "/ledger"
with urllib.request.urlopen(LEDGER, timeout=10) as answer:
    state = json.load(answer)
when = os.environ.get("MESH_SCHEDULED_TIME", "asked for")
print(f"report ({when}): {state['writes']} writes, the last by {state['writer']} with fence {state['fence']}; {state['refused']} late ones refused")
