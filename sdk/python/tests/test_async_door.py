"""What a real agent cannot be made to do on demand, said by a door that follows a script, to programs with asyncio."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

from mesh_controller import AsyncMesh, LockLost, LockTimeout, MeshError

from .fake_door import FakeDoor, broken, events, grant, problem, problem_of, send, silent

JOB = "/v1/locks/job"


async def until(condition):
    """Waits for a condition, with a deadline."""
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it is still not so")
        await asyncio.sleep(0.01)


class AsyncDoorTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.door = FakeDoor(self)
        self.mesh = AsyncMesh(self.door.agent, self.door.token_file)
        self.lose = threading.Event()

    def bodies(self, method):
        return [request.body for request in self.door.seen(method)]

    def grants_until_lose(self, reason="TakenAway"):
        def later(exchange):
            self.lose.wait(10)
            exchange.say("lost", {"fence": 3, "reason": reason, "detail": "by hand"})
            exchange.end()

        self.door.on("POST", JOB, events(("acquired", grant(3)), then=later))
        self.door.on("DELETE", JOB, problem(409, "lost"))


class AskingTest(AsyncDoorTest):
    async def test_answers_come_with_a_length_and_refusals_with_the_agents_words(self):
        self.door.on("GET", "/v1/self", send(200, {"instance": "web-1"}))
        self.door.on("GET", "/v1/locks", lambda exchange: exchange.send(502, b"<html>"))
        self.door.on("POST", JOB, problem(400, "invalid", field="metadata", detail="metadata: it has 5000 bytes"))
        self.assertEqual(await self.mesh.self(), {"instance": "web-1"})
        with self.assertRaisesRegex(MeshError, "HTTP status 502"):
            await self.mesh.locks.list()
        with self.assertRaisesRegex(MeshError, "metadata: it has 5000 bytes"):
            await self.mesh.locks.acquire("job")

    async def test_a_question_to_an_agent_that_restarts_is_asked_again(self):
        self.door.on("GET", "/v1/self", broken, times=2)
        self.door.on("GET", "/v1/self", send(200, {"instance": "web-1"}))
        self.assertEqual(await self.mesh.self(), {"instance": "web-1"})

    async def test_a_forked_process_releases_nothing(self):
        self.door.on("POST", JOB, events(("acquired", grant(7))))
        self.door.on("DELETE", JOB, send(204))
        lock = await self.mesh.locks.acquire("job")
        with mock.patch("mesh_controller._claim.os.getpid", lambda: 0):
            self.assertEqual((lock.held, await lock.release()), (False, False))
        self.assertEqual(self.door.seen("DELETE"), [])
        self.assertTrue(await lock.release())

    async def test_503_is_tried_again_until_the_wait_is_over_and_at_once_told_without_a_wait(self):
        self.door.on("POST", JOB, problem(503, "unavailable"), times=3)
        self.door.on("POST", JOB, events(("acquired", grant(7))), times=1)
        self.door.on("POST", JOB, problem(503, "unavailable"))
        self.door.on("DELETE", JOB, send(204))
        async with self.mesh.locks.hold("job", wait=20) as lock:
            self.assertEqual((lock.key, lock.fence), ("job", 7))
        with self.assertRaises(MeshError) as caught:
            await self.mesh.locks.try_acquire("job")
        self.assertEqual((type(caught.exception), caught.exception.type), (MeshError, "unavailable"))
        with self.assertRaises(LockTimeout):
            await self.mesh.locks.acquire("job", wait=0.2)

    async def test_a_connection_that_breaks_while_queued_is_made_again_with_the_ticket(self):
        queued = events(("queued", {"ticket": 41, "position": 2}), ("queued", {"ticket": 42, "position": 1}), then=broken)
        self.door.on("POST", JOB, queued, times=1)
        self.door.on("POST", JOB, broken, times=1)
        self.door.on("POST", JOB, events(("acquired", grant(43))))
        self.door.on("DELETE", JOB, send(204))
        async with self.mesh.locks.hold("job", wait=60):
            first, second, third = self.bodies("POST")
        self.assertEqual([first.get("ticket"), second["ticket"], third["ticket"]], [None, 42, 42])
        self.assertRegex(second["wait"], r"^59s\d+ms$")

    async def test_an_event_may_come_in_pieces_and_one_that_is_not_json_is_a_broken_stream(self):
        def in_pieces(exchange):
            exchange.begin()
            for byte in ': hello\n\nevent: acquired\ndata: {"fence": 5,\ndata: "metadata": {"who": "Zoë\u2028"}}\n\n'.encode():
                exchange.write(bytes([byte]))
            exchange.until_left()

        def malformed(exchange):
            exchange.begin()
            exchange.write(b"event: acquired\ndata: {\n\n")
            exchange.until_left()

        self.door.on("POST", JOB, malformed, times=1)
        self.door.on("POST", JOB, in_pieces)
        self.door.on("DELETE", JOB, send(204))
        async with self.mesh.locks.hold("job", wait=20) as lock:
            self.assertEqual(lock.fence, 5)

    async def test_what_was_granted_after_a_time_in_the_queue_is_renewed_before_it_is_handed_over(self):
        def late(exchange):
            time.sleep(0.4)
            exchange.say("acquired", grant(9))
            exchange.until_left()

        self.door.on("POST", JOB, events(("queued", {"ticket": 1, "position": 1}), then=late), times=1)
        self.door.on("PUT", JOB, problem(409, "lost", reason="NotRenewed"), times=1)
        self.door.on("POST", JOB, events(("acquired", grant(10))))
        self.door.on("DELETE", JOB, send(204))
        async with self.mesh.locks.hold("job", ttl=1, wait=60) as lock:
            self.assertEqual(lock.fence, 10, "the first had been lost by then")
        self.assertEqual(self.bodies("PUT")[0], {"fence": 9})
        self.assertNotIn("ticket", self.bodies("POST")[1])

    async def test_who_is_cancelled_while_queued_leaves_the_queue_and_what_came_too_late_is_released(self):
        def late(exchange):
            exchange.until_left()
            exchange.say("acquired", grant(11))
            exchange.end()

        self.door.on("POST", JOB, events(("queued", {"ticket": 1, "position": 1}), then=late))
        self.door.on("DELETE", JOB, send(204))
        acquiring = asyncio.ensure_future(self.mesh.locks.acquire("job", wait=60))
        await until(lambda: self.door.seen("POST"))
        acquiring.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await acquiring
        self.assertEqual([request.query for request in self.door.seen("DELETE")], ["fence=11"])

    async def test_a_silent_agent_does_not_make_a_wait_longer_than_it_is_by_much(self):
        self.door.on("POST", JOB, silent)
        start = time.monotonic()
        with self.assertRaises(LockTimeout):
            await self.mesh.locks.acquire("job", wait=0.1)
        self.assertLess(time.monotonic() - start, 8)
        await until(lambda: self.door.seen("POST")[0].is_over)


class HeldTest(AsyncDoorTest):
    async def test_a_loss_cancels_the_block_and_is_raised_by_it(self):
        self.grants_until_lose()
        cancelled = False
        with self.assertRaises(LockLost) as caught:
            async with self.mesh.locks.hold("job") as lock:
                lock.check()
                self.lose.set()
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    cancelled = True
                    self.assertFalse(lock.held)
                    raise
        self.assertTrue(cancelled)
        self.assertEqual((caught.exception.reason, caught.exception.key, caught.exception.fence), ("TakenAway", "job", 3))
        await asyncio.sleep(0)
        if sys.version_info >= (3, 11):
            self.assertEqual(asyncio.current_task().cancelling(), 0, "no cancellation is left over")

    async def test_a_cancellation_from_outside_stays_one(self):
        self.grants_until_lose()

        async def work():
            async with self.mesh.locks.hold("job"):
                await asyncio.sleep(10)

        working = asyncio.ensure_future(work())
        await until(lambda: self.door.seen("POST"))
        await asyncio.sleep(0.1)
        working.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await working
        self.assertEqual(len(self.door.seen("DELETE")), 1, "it is released all the same")
        self.lose.set()

    @unittest.skipIf(sys.version_info < (3, 11), "tasks do not count their cancellations before")
    async def test_a_cancellation_from_outside_together_with_a_loss_stays_one(self):
        self.grants_until_lose()

        held = asyncio.get_running_loop().create_future()

        async def work():
            async with self.mesh.locks.hold("job") as lock:
                held.set_result(lock)
                await asyncio.sleep(10)

        working = asyncio.ensure_future(work())
        lock = await held
        lock._term.failed(MeshError("by hand", type="lost"))
        asyncio.get_running_loop().call_soon(working.cancel)  # right after the cancellation by the loss
        with self.assertRaises(asyncio.CancelledError):
            await working
        self.lose.set()

    async def test_what_the_block_raises_because_of_a_loss_is_the_cause_of_the_loss(self):
        self.grants_until_lose("InstanceEnded")
        with self.assertRaises(LockLost) as caught:
            async with self.mesh.locks.hold("job"):
                self.lose.set()
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    raise ValueError("the write was refused") from None
        self.assertEqual((caught.exception.reason, str(caught.exception.__cause__)), ("InstanceEnded", "the write was refused"))

    async def test_a_block_that_does_not_wait_sees_the_loss_by_the_clock(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("DELETE", JOB, send(204))
        with self.assertRaises(LockLost) as caught:
            async with self.mesh.locks.hold("job", ttl=1) as lock:
                time.sleep(1.1)
                self.assertFalse(lock.held)
                lock.check()
        self.assertEqual(caught.exception.reason, "NotRenewed")
        await asyncio.sleep(0)  # no cancellation is left over
        with self.assertRaises(LockLost):
            async with self.mesh.locks.hold("job", ttl=1):
                time.sleep(1.1)

    async def test_a_stream_that_is_cut_while_held_is_opened_again_with_the_fence(self):
        def later(exchange):
            self.lose.wait(10)
            exchange.say("lost", {"fence": 3, "reason": "Unavailable", "detail": "renewals could not be written"})
            exchange.end()

        self.door.on("POST", JOB, events(("acquired", grant(3)), then=broken))
        self.door.on("GET", JOB, broken, times=1)
        self.door.on("GET", JOB, events(("acquired", grant(3)), then=later))
        self.door.on("DELETE", JOB, send(204))
        lock = await self.mesh.locks.acquire("job")
        await until(lambda: len(self.door.seen("GET")) == 2)
        self.assertEqual([request.query for request in self.door.seen("GET")], ["fence=3", "fence=3"])
        self.assertTrue(lock.held)
        self.lose.set()
        await until(lambda: not lock.held)
        with self.assertRaisesRegex(LockLost, "Unavailable"):
            await lock.renew()

    async def test_renewals_are_sent_every_third_of_the_ttl_and_503_is_tried_again(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("PUT", JOB, problem(503, "unavailable"), times=1)
        self.door.on("PUT", JOB, send(200, grant(3)))
        self.door.on("DELETE", JOB, broken, times=1)
        self.door.on("DELETE", JOB, send(204))
        lock = await self.mesh.locks.acquire("job", ttl=3)
        await until(lambda: len(self.door.seen("PUT")) == 3)
        start, first, second, third = [request.at for request in self.door.requests]
        self.assertTrue(first - start > 0.95 and second - first > 0.2 and third - second > 0.95)
        self.assertEqual((await lock.release(), await lock.release(), lock.held), (True, True, False))
        self.assertEqual(len(self.door.seen("DELETE")), 2)
        await until(lambda: self.door.seen("POST")[0].is_over)

    async def test_an_agent_that_is_silent_until_the_ttl_is_over_loses_the_lock(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("PUT", JOB, silent)
        self.door.on("DELETE", JOB, send(204))
        start = time.monotonic()
        with self.assertRaises(LockLost) as caught:
            async with self.mesh.locks.hold("job", ttl=1):
                await asyncio.sleep(10)
        took = time.monotonic() - start
        self.assertTrue(1 <= took < 1.4, took)
        self.assertEqual(caught.exception.reason, "NotRenewed")

    def test_a_process_that_was_stopped_past_its_ttl_sees_the_loss(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("PUT", JOB, send(200, grant(3)))
        self.door.on("DELETE", JOB, send(204))
        program = """
import asyncio, sys
from mesh_controller import AsyncMesh, LockLost
async def main():
    try:
        async with AsyncMesh().locks.hold("job", ttl=1) as lock:
            print("held", lock.held, flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            print("held", lock.held, flush=True)
            await asyncio.sleep(10)
    except LockLost as loss:
        print(loss.reason, flush=True)
asyncio.run(main())
"""
        settings = {"MESH_AGENT": self.door.agent, "MESH_TOKEN_FILE": self.door.token_file}
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}
        ) as child:
            self.addCleanup(lambda: child.poll() is None and child.kill())
            self.assertEqual(child.stdout.readline(), "held True\n")
            child.send_signal(signal.SIGSTOP)
            time.sleep(1.3)
            child.stdin.write("go on\n")
            child.stdin.flush()
            child.send_signal(signal.SIGCONT)
            out = child.stdout.read()
            self.assertIn(out, ("held False\nNotRenewed\n", "NotRenewed\n"))


class LeaderTest(AsyncDoorTest):
    async def test_a_leader_is_asked_for_under_its_group_and_elect_waits_without_end(self):
        path = "/v1/leaders/a%2Fb%20c"
        self.door.on("POST", path, events(("problem", problem_of(409, "held"))), times=2)
        self.door.on("POST", path, events(("acquired", grant(4))))
        self.door.on("DELETE", path, send(204))

        async def work(leadership):
            return leadership.group, leadership.fence

        leader = self.mesh.leader
        self.assertIsNone(await leader.try_elect("a/b c"))
        self.assertIsNone(await leader.run_when_leader("a/b c", work))
        self.assertEqual(await leader.run_when_leader("a/b c", work, wait=True), ("a/b c", 4))
        self.assertEqual([body.get("wait") for body in self.bodies("POST")], ["0s", "0s", None])

    async def test_observe_tells_each_change_once_also_over_connections_that_break(self):
        path = "/v1/leaders/g"
        one = ("leader", {"group": "g", "fence": 1, "holder": "web-1"})
        two = ("leader", {"group": "g", "fence": 2, "holder": "web-2"})
        self.door.on("GET", path, events(one, then=lambda exchange: exchange.end()), times=1)
        self.door.on("GET", path, problem(503, "unavailable"), times=1)
        self.door.on("GET", path, events(one, ("none", {}), two), times=1)
        seen = []

        async def watch():
            async for leader in self.mesh.leader.observe("g"):
                seen.append(leader and leader["holder"])

        watching = asyncio.ensure_future(watch())
        await until(lambda: len(seen) == 3)
        watching.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await watching
        self.assertEqual(seen, ["web-1", None, "web-2"])
        await until(lambda: all(request.is_over for request in self.door.requests))


class CleanupTest(AsyncDoorTest):
    def snapshot(self):
        return self.mesh.cleanup.snapshots()[0]

    async def test_a_task_runs_only_when_it_leads_and_has_the_lock_otherwise_it_is_skipped_which_is_no_run(self):
        held = events(("problem", problem_of(409, "held")))
        leader = "/v1/leaders/cleanup%3Atmp"
        self.door.on("POST", leader, held, times=1)
        self.door.on("POST", leader, events(("acquired", grant(20))))
        self.door.on("POST", JOB, held, times=1)
        self.door.on("POST", JOB, events(("acquired", grant(30))))
        self.door.on("DELETE", JOB, send(204))
        self.door.on("DELETE", leader, send(204))
        runs = []

        async def run(run):
            runs.append(run)

        cleanup = self.mesh.cleanup
        cleanup.task("tmp", run, interval=0.1, leader=True, lock_key="job")
        cleanup.start()
        await until(lambda: self.snapshot().status == "skipped")
        self.assertEqual((len(self.door.seen("POST")), self.snapshot().runs), (1, 0))
        await until(lambda: len(self.door.seen("POST")) == 3)
        await until(lambda: self.snapshot().status == "skipped")
        self.assertEqual((self.snapshot().runs, self.snapshot().failures), (0, 0))
        await until(lambda: self.snapshot().runs == 2 and self.snapshot().status == "succeeded")
        self.assertEqual((runs[0].task, runs[0].fence), ("tmp", 30))
        await cleanup.stop()
        self.assertEqual([request.path for request in self.door.seen("POST")].count(leader), 2)
        self.assertEqual((self.snapshot().status, self.door.seen("DELETE")[-1].path), ("stopped", leader))

    async def test_a_run_is_cancelled_when_its_time_is_over_and_by_a_loss_and_by_stop(self):
        lost = ("lost", {"fence": 30, "reason": "TakenAway", "detail": "by hand"})
        self.door.on("POST", JOB, events(("acquired", grant(30))), times=1)
        self.door.on("POST", JOB, events(("acquired", grant(30)), lost), times=1)
        self.door.on("POST", JOB, events(("acquired", grant(30))))
        self.door.on("DELETE", JOB, send(204))
        ends = []

        async def run(run):
            start = time.monotonic()
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(0.05)
                ends.append(time.monotonic() - start)

        cleanup = self.mesh.cleanup
        cleanup.task("tmp", run, interval=0.1, lock_key="job", max_runtime=0.5)
        cleanup.start()
        await until(lambda: self.snapshot().failures == 1)
        self.assertEqual(self.snapshot().last_error, "it ran for longer than 0.5 s")
        self.assertGreater(ends[0], 0.54)
        await until(lambda: self.snapshot().failures == 2)
        self.assertRegex(self.snapshot().last_error, "TakenAway")
        self.assertLess(ends[1], 0.5)
        await until(lambda: self.snapshot().runs == 3)
        await cleanup.stop()
        self.assertEqual((len(ends), self.snapshot().failures), (3, 2), "being stopped is no failure")
        self.assertEqual(len(self.door.seen("DELETE")), 3)
