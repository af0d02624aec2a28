"""Writes to the ledger while it holds the lock, and says when it leads."""
import json
import os
import threading
import time
import urllib.error
import urllib.request

from mesh_controller import LockError, Mesh, MeshError

NAME = os.environ["MESH_INSTANCE"]
LEDGER = os.environ.get("LEDGER") or os.environ["MESH_ROUTER_URL"] + "/ledger"
# What the router answers while no ledger runs: it is being replaced, or ends with all the rest.
AWAY = (404, 502, 503, 504)


def write(fence):
    """Whether to go on: the ledger has taken it, or is away for now."""
    body = json.dumps({"writer": NAME, "fence": fence}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(LEDGER, body), timeout=5):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 409:
            print(f"the ledger has refused fence {fence}: another has written since")
            return False
        if error.code in AWAY:
            return True
        raise


def lead(mesh):
    def led(leadership):
        print(f"leads, with fence {leadership.fence}")
        leadership.lost.wait()
        print("leads no more")

    while True:
        try:
            mesh.leader.run_when_leader("workers", led, ttl=5, wait=True)
        except (LockError, MeshError) as error:
            print(f"the lead: {error}")
            time.sleep(1)


def work(mesh):
    while True:
        fence = None
        try:
            with mesh.locks.hold("ledger", ttl=5, wait=3600) as lock:
                fence = lock.fence
                print(f"holds the lock, with fence {fence}")
                while not lock.lost.is_set() and write(fence):
                    time.sleep(0.1)
        except (LockError, MeshError, OSError) as error:
            print(f"the lock: {error}")
            # What a program does that was stopped between its last look at the lock and its write.
            if fence is not None:
                try:
                    write(fence)
                except OSError as error:
                    print(f"the ledger: {error}")
            time.sleep(0.1)


mesh = Mesh()
threading.Thread(target=lead, args=(mesh,), daemon=True).start()
work(mesh)
