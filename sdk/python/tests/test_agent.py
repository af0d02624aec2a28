"""Against a real agent: MESH_AGENT, MESH_TOKEN_FILE, and MESH_TOKEN_FILE_2 of another instance in the same namespace."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from datetime import datetime
from uuid import uuid4

from mesh_controller import AsyncMesh, LockTimeout, Mesh, MeshError

from .fake_door import until


def fresh(name):
    """A name that no other run of the tests has."""
    return f"{name}-{uuid4()}"


def in_thread(work):
    """Starts the work; the result is in the list once it is there."""
    result = []
    threading.Thread(target=lambda: result.append(work()), daemon=True).start()
    time.sleep(0.2)
    return result


class AgentTest(unittest.TestCase):
    def setUp(self):
        self.one = Mesh()
        self.two = Mesh(token_file=os.environ["MESH_TOKEN_FILE_2"])

    def test_a_program_learns_who_it_is(self):
        one, two = self.one.self(), self.two.self()
        self.assertEqual(one["namespace"], two["namespace"])
        self.assertNotEqual(one["instance"], two["instance"])
        self.assertEqual(asyncio.run(AsyncMesh().self()), one)

    def test_a_wrong_token_is_unauthorized(self):
        with tempfile.NamedTemporaryFile("w") as token:
            token.write("wrong\n")
            token.flush()
            nobody = Mesh(token_file=token.name)
            for ask in (nobody.self, lambda: nobody.locks.acquire("job", wait=5), lambda: next(nobody.leader.observe("g"))):
                with self.assertRaises(MeshError) as caught:
                    ask()
                self.assertEqual((caught.exception.type, caught.exception.status), ("unauthorized", 401))

    def test_a_held_lock_is_nobody_elses_and_is_told_to_everybody(self):
        key = fresh("media/1 ü?#%")
        with self.one.locks.hold(key, ttl=5, metadata={"why": "encode", "n": 1}) as lock:
            self.assertIsNone(self.two.locks.try_acquire(key))
            info = self.two.locks.get(key)
            told = (info["key"], info["fence"], info["holder"], info["ttl"], info["metadata"])
            self.assertEqual(told, (key, lock.fence, self.one.self()["instance"], "5s", {"why": "encode", "n": 1}))
            renewed, expires = (datetime.fromisoformat(info[name].replace("Z", "+00:00")) for name in ("renewedAt", "expiresAt"))
            self.assertEqual((expires - renewed).total_seconds(), 5)
            self.assertEqual([other["fence"] for other in self.two.locks.list() if other["key"] == key], [lock.fence])
            time.sleep(0.02)
            lock.renew()
            self.assertGreater(self.two.locks.get(key)["expiresAt"], info["expiresAt"])
        self.assertIsNone(self.two.locks.get(key))
        with self.two.locks.hold(key) as later:
            self.assertGreater(later.fence, lock.fence)

    def test_a_wait_that_is_over_names_the_key(self):
        key = fresh("job")
        with self.one.locks.hold(key):
            start = time.monotonic()
            with self.assertRaisesRegex(LockTimeout, key) as caught:
                self.two.locks.acquire(key, wait=0.7)
            self.assertTrue(0.69 < time.monotonic() - start < 3)
            self.assertEqual(caught.exception.problem["holder"], self.one.self()["instance"])
            with self.assertRaises(LockTimeout):
                self.one.locks.acquire(key)

    def test_first_come_first_served(self):
        key, order = fresh("job"), []

        def wait(name, mesh):
            with mesh.locks.hold(key, wait=60) as lock:
                order.append((name, lock.fence))
            return name

        with self.one.locks.hold(key) as lock:
            ends = [in_thread(lambda name=name, mesh=mesh: wait(name, mesh)) for name, mesh in (("a", self.two), ("b", self.one), ("c", self.two))]
        until(lambda: all(ends))
        self.assertEqual([name for name, _ in order], ["a", "b", "c"])
        fences = [lock.fence, *(fence for _, fence in order)]
        self.assertEqual(fences, sorted(set(fences)))

    def test_a_lock_outlives_its_ttl_while_it_is_held_also_one_that_was_waited_for_longer_than_its_ttl(self):
        key = fresh("job")
        with self.one.locks.hold(key, ttl=1):
            waiting = in_thread(lambda: self.two.locks.acquire(key, ttl=1, wait=60))
            time.sleep(2.3)
            self.assertEqual(waiting, [])
        (second,) = until(lambda: waiting)
        time.sleep(1.5)
        self.assertTrue(second.held and not second.lost.is_set())
        self.assertEqual(self.one.locks.get(key)["fence"], second.fence)
        self.assertTrue(second.release())

    def test_the_lock_of_a_stopped_process_is_anothers_after_its_ttl_and_not_before_and_the_process_learns_of_it(self):
        key = fresh("job")
        program = f"""
import json
from mesh_controller import Mesh
lock = Mesh().locks.acquire({key!r}, ttl=2)
print(lock.fence, flush=True)
input()
print(json.dumps([lock.lost.is_set(), lock.held, lock.release()]), flush=True)
"""
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            self.addCleanup(lambda: child.poll() is None and child.kill())
            fence = int(child.stdout.readline())
            start = time.monotonic()
            child.send_signal(signal.SIGSTOP)
            with self.two.locks.hold(key, wait=30) as lock:
                self.assertTrue(1.2 < time.monotonic() - start < 6)
                self.assertGreater(lock.fence, fence)
                child.stdin.write("go on\n")
                child.stdin.flush()
                child.send_signal(signal.SIGCONT)
                self.assertEqual(json.loads(child.stdout.readline()), [True, False, False])
                self.assertEqual(self.one.locks.get(key)["fence"], lock.fence, "the other's is left alone")

    def test_what_cannot_be_is_refused_by_field(self):
        for field, key, settings in [
            ("metadata", "job", {"metadata": {"text": "x" * 4096}}),
            ("key", "x" * 513, {}),
            ("key", "a\nb", {}),
        ]:
            with self.subTest(field=field, settings=settings), self.assertRaises(MeshError) as caught:
                self.one.locks.acquire(key, **settings)
            self.assertEqual((caught.exception.type, caught.exception.status, caught.exception.field), ("invalid", 400, field))

    def test_one_leads_a_group_after_its_end_the_next_does_and_everybody_may_watch(self):
        group, seen = fresh("indexer"), []

        def watch():
            for leader in self.two.leader.observe(group):
                seen.append(leader and leader["fence"])

        threading.Thread(target=watch, daemon=True).start()
        until(lambda: seen == [None])
        with self.one.leader.elect(group) as leadership:
            until(lambda: seen[-1] == leadership.fence)
            self.assertIsNone(self.two.leader.try_elect(group))
            self.assertIsNone(self.two.leader.run_when_leader(group, lambda _: "led"))
            told = [(info["holder"], info["fence"]) for info in self.two.leader.list() if info["group"] == group]
            self.assertEqual(told, [(self.one.self()["instance"], leadership.fence)])
            campaign = in_thread(lambda: self.two.leader.run_when_leader(group, lambda leadership: leadership.fence, wait=True))
            self.assertEqual(campaign, [])
        (fence,) = until(lambda: campaign)
        self.assertGreater(fence, leadership.fence)
        until(lambda: fence in seen and seen[-1] is None)

    def test_a_cleanup_task_stays_with_the_instance_that_leads_until_it_stops(self):
        name, runs = fresh("tmp"), {"one": 0, "two": 0}

        def count(who):
            def run(_):
                runs[who] += 1

            return run

        for who, mesh in (("one", self.one), ("two", self.two)):
            mesh.cleanup.task(name, count(who), interval=0.05, leader=True, lock_key=name)
            self.addCleanup(mesh.cleanup.stop)
        self.one.cleanup.start()
        until(lambda: runs["one"] > 0)
        self.two.cleanup.start()
        until(lambda: runs["one"] > 3 and self.two.cleanup.snapshots()[0].status == "skipped")
        self.assertEqual((runs["two"], self.two.cleanup.snapshots()[0].runs), (0, 0))
        self.one.cleanup.stop()
        until(lambda: runs["two"] > 1)


class AsyncAgentTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.one = AsyncMesh()
        self.two = AsyncMesh(token_file=os.environ["MESH_TOKEN_FILE_2"])

    async def test_a_held_lock_is_nobody_elses_and_outlives_its_ttl(self):
        key = fresh("job ü")
        async with self.one.locks.hold(key, ttl=1, metadata={"a": 1}) as lock:
            self.assertIsNone(await self.two.locks.try_acquire(key))
            await asyncio.sleep(1.5)
            lock.check()
            info = await self.two.locks.get(key)
            self.assertEqual((info["fence"], info["metadata"]), (lock.fence, {"a": 1}))
            self.assertIn(key, [info["key"] for info in await self.two.locks.list()])
            with self.assertRaises(LockTimeout):
                await self.two.locks.acquire(key, wait=0.3)
        self.assertIsNone(await self.one.locks.get(key))

    async def test_who_gives_up_leaves_the_queue(self):
        key, order = fresh("job"), []

        async def wait(name, mesh):
            async with mesh.locks.hold(key, wait=60):
                order.append(name)

        waiting = []
        async with self.one.locks.hold(key):
            for name, mesh in (("a", self.two), ("b", self.one), ("c", self.two)):
                waiting.append(asyncio.ensure_future(wait(name, mesh)))
                await asyncio.sleep(0.2)
            waiting[1].cancel()
            await asyncio.gather(waiting[1], return_exceptions=True)
        await asyncio.gather(waiting[0], waiting[2])
        self.assertEqual(order, ["a", "c"])

    async def test_one_leads_a_group_and_after_its_end_the_next_does(self):
        group = fresh("indexer")

        async def work(leadership):
            return leadership.fence

        watching = self.two.leader.observe(group)
        self.assertIsNone(await watching.__anext__())
        async with await self.one.leader.elect(group) as leadership:
            self.assertEqual((await watching.__anext__())["fence"], leadership.fence)
            self.assertIsNone(await self.two.leader.run_when_leader(group, work))
            campaign = asyncio.ensure_future(self.two.leader.run_when_leader(group, work, wait=True))
            await asyncio.sleep(0.2)
            self.assertIn(group, [info["group"] for info in await self.two.leader.list()])
        self.assertGreater(await campaign, leadership.fence)
        await watching.aclose()

    async def test_a_cleanup_task_stays_with_the_instance_that_leads_until_it_stops(self):
        name, runs = fresh("tmp"), []

        async def run(run):
            runs.append(run.fence)

        self.one.cleanup.task(name, run, interval=0.05, leader=True)
        self.one.cleanup.start()
        while len(runs) < 3:
            await asyncio.sleep(0.01)
        self.assertEqual(len(set(runs)), 1, "one leadership")
        self.assertIsNone(await self.two.leader.try_elect(f"cleanup:{name}"))
        await self.one.cleanup.stop()
        async with await self.two.leader.elect(f"cleanup:{name}", wait=5) as leadership:
            self.assertGreater(leadership.fence, runs[0])
