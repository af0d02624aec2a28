"""What a real agent cannot be made to do on demand, said by a door that follows a script, to programs with threads."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

from mesh_controller import LockError, LockLost, LockTimeout, Mesh, MeshError

from .fake_door import FakeDoor, broken, events, grant, problem, problem_of, send, silent, until

JOB = "/v1/locks/job"


class DoorTest(unittest.TestCase):
    def setUp(self):
        self.door = FakeDoor(self)
        self.mesh = Mesh(self.door.agent, self.door.token_file)

    def bodies(self, method):
        return [request.body for request in self.door.seen(method)]


class SettingsTest(unittest.TestCase):
    def test_a_missing_or_impossible_setting_is_refused_with_its_variable_and_the_remedy(self):
        path = "/" + "é" * 54
        for settings, words in [
            ({"token_file": "t"}, "MESH_AGENT is not set.*set it"),
            ({"agent": "unix:///a"}, "MESH_TOKEN_FILE is not set.*set it"),
            ({"agent": "/a.sock", "token_file": "t"}, "unix:///path or http://host:port, not /a.sock"),
            ({"agent": f"unix://{path}", "token_file": "t"}, f"107 bytes, {path} has 109"),
        ]:
            with self.subTest(settings), mock.patch.dict(os.environ, clear=True), self.assertRaisesRegex(MeshError, words):
                Mesh(**settings)

    def test_durations_are_written_as_the_gateway_api_has_them(self):
        from mesh_controller._wire import duration

        for seconds, text in [(0, "0s"), (0.5, "500ms"), (30, "30s"), (5400, "1h30m"), (86400, "24h"), (4.9501, "4s951ms"), (0.1 + 0.2, "300ms")]:
            self.assertEqual(duration("wait", seconds), text)
        for seconds in (-1, float("nan"), float("inf")):
            with self.assertRaisesRegex(MeshError, "wait: "):
                duration("wait", seconds)


class AskingTest(DoorTest):
    def test_the_token_is_read_for_each_request(self):
        self.door.on("GET", "/v1/self", send(200, {"instance": "web-1"}))
        self.mesh.self()
        self.door.set_token("second")
        self.assertEqual(self.mesh.self(), {"instance": "web-1"})
        self.assertEqual([request.token for request in self.door.requests], ["Bearer first", "Bearer second"])

    def test_a_refusal_is_an_error_with_the_agents_words(self):
        self.door.on("POST", JOB, problem(400, "invalid", field="metadata", detail="metadata: it has 5000 bytes", remedy="use at most 4096"))
        with self.assertRaises(MeshError) as caught:
            self.mesh.locks.acquire("job", wait=5)
        error = caught.exception
        self.assertNotIsInstance(error, LockError)
        self.assertEqual(str(error), "metadata: it has 5000 bytes (use at most 4096)")
        self.assertEqual((error.type, error.status, error.field, error.problem["remedy"]), ("invalid", 400, "metadata", "use at most 4096"))
        self.assertEqual(self.bodies("POST"), [{"ttl": "30s", "wait": "5s"}])

    def test_an_argument_that_is_wrong_is_named_before_the_agent_is_asked(self):
        cyclic = {}
        cyclic["self"] = cyclic
        acquire, elect = self.mesh.locks.acquire, self.mesh.leader.elect
        for field, ask in [
            ("key", lambda: acquire(5)),
            ("key", lambda: acquire("")),
            ("key", lambda: acquire("\ud800")),
            ("group", lambda: elect(None)),
            ("ttl", lambda: acquire("job", ttl="x")),
            ("ttl", lambda: acquire("job", ttl=0.5)),
            ("ttl", lambda: acquire("job", ttl=1.5)),
            ("ttl", lambda: acquire("job", ttl=86_401)),
            ("ttl", lambda: acquire("job", ttl=True)),
            ("wait", lambda: acquire("job", wait="5s")),
            ("wait", lambda: acquire("job", wait=-1)),
            ("wait", lambda: acquire("job", wait=100_000)),
            ("metadata", lambda: acquire("job", metadata="x")),
            ("metadata", lambda: acquire("job", metadata={"x": object()})),
            ("metadata", lambda: acquire("job", metadata={"x": float("nan")})),
            ("metadata", lambda: acquire("job", metadata=cyclic)),
            ("interval", lambda: self.mesh.cleanup.task("t", print, interval="1")),
            ("run", lambda: self.mesh.cleanup.task("t", None, interval=1)),
            ("agent", lambda: Mesh(5, "t")),
            ("token_file", lambda: Mesh("unix:///a", 5)),
        ]:
            with self.subTest(field), self.assertRaises(MeshError) as caught:
                ask()
            self.assertEqual((caught.exception.type, caught.exception.field), ("invalid", field))
            self.assertTrue(str(caught.exception).startswith(f"{field}: "))
        self.assertEqual(self.door.requests, [])

    def test_a_question_to_an_agent_that_restarts_is_asked_again(self):
        for path, answer, ask in [
            ("/v1/self", {"instance": "web-1"}, self.mesh.self),
            ("/v1/locks", {"items": []}, self.mesh.locks.list),
            (JOB, grant(7), lambda: self.mesh.locks.get("job")),
            ("/v1/leaders", {"items": []}, self.mesh.leader.list),
        ]:
            self.door.on("GET", path, broken, times=2)
            self.door.on("GET", path, send(200, answer))
            self.assertIsNotNone(ask())
        self.assertEqual(len(self.door.seen("GET")), 12)

    def test_an_agent_that_stays_away_is_told_after_a_while(self):
        with mock.patch("mesh_controller._claim.PATIENCE", 0.2), self.assertRaises(MeshError) as caught:
            Mesh("unix:///nobody/is/there", self.door.token_file).self()
        self.assertEqual(caught.exception.type, "unreachable")

    def test_a_forked_process_neither_holds_nor_releases_what_its_parent_holds(self):
        self.door.on("POST", JOB, events(("acquired", grant(7))))
        self.door.on("DELETE", JOB, send(204))
        with self.mesh.locks.hold("job") as lock:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    with lock:
                        is_refused = False
                        try:
                            lock.check()
                        except LockError:
                            is_refused = True
                    status = 0 if is_refused and not lock.held and not lock.release() else 2
                finally:
                    os._exit(status)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertTrue(lock.held)
            self.assertEqual(self.door.seen("DELETE"), [])
        self.assertEqual(len(self.door.seen("DELETE")), 1)

    def test_an_answer_that_is_not_the_agents_is_an_error_with_its_status(self):
        self.door.on("GET", "/v1/locks", lambda exchange: exchange.send(502, b"<html>"))
        with self.assertRaisesRegex(MeshError, "HTTP status 502"):
            self.mesh.locks.list()

    def test_503_is_tried_again_until_the_wait_is_over_and_at_once_told_without_a_wait(self):
        self.door.on("POST", JOB, problem(503, "unavailable"), times=3)
        self.door.on("POST", JOB, events(("acquired", grant(7))), times=1)
        self.door.on("POST", JOB, problem(503, "unavailable"))
        self.door.on("DELETE", JOB, send(204))
        with self.mesh.locks.hold("job", wait=20) as lock:
            self.assertEqual(lock.fence, 7)
        with self.assertRaises(MeshError) as caught:
            self.mesh.locks.try_acquire("job")
        self.assertEqual((type(caught.exception), caught.exception.type), (MeshError, "unavailable"))
        with self.assertRaises(LockTimeout) as caught:
            self.mesh.locks.acquire("job", wait=0.2)
        self.assertEqual((caught.exception.key, caught.exception.type), ("job", "unavailable"))

    def test_a_connection_that_breaks_while_queued_is_made_again_with_the_ticket_and_what_is_left_of_the_wait(self):
        def queued_then_broken(exchange):
            exchange.begin()
            exchange.say("queued", {"ticket": 41, "position": 2})
            exchange.say("queued", {"ticket": 42, "position": 1})
            time.sleep(0.1)
            exchange.cut()

        self.door.on("POST", JOB, queued_then_broken, times=1)
        self.door.on("POST", JOB, broken, times=1)
        self.door.on("POST", JOB, events(("acquired", grant(43))))
        self.door.on("DELETE", JOB, send(204))
        with self.mesh.locks.hold("job", wait=60):
            first, second, third = self.bodies("POST")
        self.assertEqual([first.get("ticket"), second["ticket"], third["ticket"]], [None, 42, 42])
        self.assertEqual(first["wait"], "1m")
        self.assertRegex(second["wait"], r"^59s\d+ms$")

    def test_an_event_may_come_in_pieces_and_one_that_is_not_json_is_a_broken_stream(self):
        text = ': hello\r\n\r\nevent: acquired\r\ndata: {"fence": 5,\r\ndata: "metadata": {"who": "Zoë\u2028"}}\r\n\r\n'

        def in_pieces(exchange):
            exchange.begin()
            for byte in text.encode():
                exchange.write(bytes([byte]))
            exchange.until_left()

        def malformed(exchange):
            exchange.begin()
            exchange.write(b"event: acquired\ndata: {\n\n")
            exchange.until_left()

        self.door.on("POST", JOB, malformed, times=1)
        self.door.on("POST", JOB, in_pieces)
        self.door.on("DELETE", JOB, send(204))
        with self.mesh.locks.hold("job", wait=20) as lock:
            self.assertEqual(lock.fence, 5)
        self.assertEqual(len(self.door.seen("POST")), 2)

    def test_what_was_granted_after_a_time_in_the_queue_is_renewed_before_it_is_handed_over(self):
        def late(exchange):
            time.sleep(0.4)
            exchange.say("acquired", grant(9))
            exchange.until_left()

        self.door.on("POST", JOB, events(("queued", {"ticket": 1, "position": 1}), then=late), times=1)
        self.door.on("PUT", JOB, problem(409, "lost", reason="NotRenewed"), times=1)
        self.door.on("POST", JOB, events(("acquired", grant(10))))
        self.door.on("DELETE", JOB, send(204))
        with self.mesh.locks.hold("job", ttl=1, wait=60) as lock:
            self.assertEqual(lock.fence, 10, "the first had been lost by then")
        self.assertEqual(self.bodies("PUT")[0], {"fence": 9})
        self.assertNotIn("ticket", self.bodies("POST")[1], "the place in the queue is used up")

    def test_who_is_interrupted_while_queued_leaves_the_queue_and_what_came_too_late_is_released(self):
        def late(exchange):
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            exchange.until_left()
            exchange.say("acquired", grant(11))
            exchange.end()

        # Whoever started the tests in the background may have had it ignored.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        self.door.on("POST", JOB, events(("queued", {"ticket": 1, "position": 1}), then=late))
        self.door.on("DELETE", JOB, send(204))
        with self.assertRaises(KeyboardInterrupt):
            self.mesh.locks.acquire("job", wait=60)
        self.assertEqual([request.query for request in self.door.seen("DELETE")], ["fence=11"])

    def test_a_silent_agent_does_not_make_a_wait_longer_than_it_is_by_much(self):
        self.door.on("POST", JOB, silent)
        start = time.monotonic()
        with self.assertRaises(LockTimeout):
            self.mesh.locks.acquire("job", wait=0.1)
        self.assertLess(time.monotonic() - start, 8)
        until(lambda: self.door.seen("POST")[0].is_over)


class HeldTest(DoorTest):
    def test_a_loss_that_the_agent_tells_sets_the_event_and_is_raised_at_the_end(self):
        taken = {"key": "job", "fence": 3, "reason": "TakenAway", "detail": "an administrator removed it"}
        go_on = threading.Event()

        def later(exchange):
            go_on.wait()
            exchange.say("lost", taken)
            exchange.end()

        self.door.on("POST", JOB, events(("acquired", grant(3)), then=later))
        self.door.on("DELETE", JOB, problem(409, "lost"))
        ended = False
        with self.assertRaises(LockLost) as caught:
            with self.mesh.locks.hold("job") as lock:
                self.assertEqual((lock.key, lock.held, lock.lost.is_set()), ("job", True, False))
                lock.check()
                go_on.set()
                self.assertTrue(lock.lost.wait(5))
                self.assertFalse(lock.held)
                with self.assertRaises(LockLost):
                    lock.renew()
                ended = True
        loss = caught.exception
        self.assertTrue(ended)
        self.assertEqual((loss.reason, loss.key, loss.fence, loss.detail), ("TakenAway", "job", 3, "an administrator removed it"))

    def test_what_the_block_raises_because_of_a_loss_is_the_cause_of_the_loss(self):
        self.door.on("POST", JOB, events(("acquired", grant(3)), ("lost", {"fence": 3, "reason": "InstanceEnded", "detail": "ended"})))
        with self.assertRaises(LockLost) as caught:
            with self.mesh.locks.hold("job") as lock:
                lock.lost.wait(5)
                raise ValueError("the write was refused")
        self.assertEqual((caught.exception.reason, str(caught.exception.__cause__)), ("InstanceEnded", "the write was refused"))
        with self.assertRaises(LockLost), self.mesh.locks.hold("job") as lock:
            lock.lost.wait(5)
            lock.check()

    def test_a_stream_that_is_cut_while_held_is_opened_again_with_the_fence(self):
        go_on = threading.Event()

        def later(exchange):
            go_on.wait()
            exchange.say("lost", {"fence": 3, "reason": "Unavailable", "detail": "renewals could not be written"})
            exchange.end()

        self.door.on("POST", JOB, events(("acquired", grant(3)), then=broken))
        self.door.on("GET", JOB, broken, times=1)
        self.door.on("GET", JOB, events(("acquired", grant(3)), then=later))
        lock = self.mesh.locks.acquire("job")
        until(lambda: len(self.door.seen("GET")) == 2)
        self.assertEqual([request.query for request in self.door.seen("GET")], ["fence=3", "fence=3"])
        self.assertTrue(lock.held)
        go_on.set()
        self.assertTrue(lock.lost.wait(5))
        with self.assertRaisesRegex(LockLost, "Unavailable"):
            lock.check()

    def test_after_a_restart_an_agent_that_knows_nothing_of_it_says_that_it_is_lost(self):
        self.door.on("POST", JOB, events(("acquired", grant(3)), then=lambda exchange: exchange.end()))
        lock = self.mesh.locks.acquire("job")
        self.assertTrue(lock.lost.wait(5))

    def test_renewals_are_sent_every_third_of_the_ttl_and_503_is_tried_again(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("PUT", JOB, problem(503, "unavailable"), times=1)
        self.door.on("PUT", JOB, send(200, grant(3)))
        self.door.on("DELETE", JOB, send(204))
        lock = self.mesh.locks.acquire("job", ttl=3)
        until(lambda: len(self.door.seen("PUT")) == 3)
        start, first, second, third = [request.at for request in self.door.requests]
        self.assertTrue(first - start > 0.95 and second - first > 0.2 and third - second > 0.95)
        self.assertTrue(lock.held)
        self.assertEqual((lock.release(), lock.release()), (True, True), "it is released once")
        self.assertEqual((lock.held, lock.lost.is_set(), len(self.door.seen("DELETE"))), (False, False, 1))
        until(lambda: self.door.seen("POST")[0].is_over)
        with self.assertRaisesRegex(LockError, "was released"):
            lock.renew()

    def test_an_agent_that_is_silent_until_the_ttl_is_over_loses_the_lock(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("PUT", JOB, silent)
        self.door.on("DELETE", JOB, send(204))
        start = time.monotonic()
        with self.assertRaises(LockLost) as caught, self.mesh.locks.hold("job", ttl=1) as lock:
            self.assertTrue(lock.lost.wait(5))
        took = time.monotonic() - start
        self.assertTrue(1 <= took < 1.4, took)
        self.assertEqual((caught.exception.reason, caught.exception.__cause__.type), ("NotRenewed", "unreachable"))
        self.assertEqual(len(self.door.seen("DELETE")), 1, "others need not wait for the agent's own ttl")

    def test_a_release_is_tried_again_while_the_agent_restarts_and_a_loss_makes_it_false(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("DELETE", JOB, broken, times=2)
        self.door.on("DELETE", JOB, send(204), times=1)
        self.door.on("DELETE", JOB, problem(409, "lost", reason="NotRenewed"))
        self.assertTrue(self.mesh.locks.acquire("job").release())
        self.assertFalse(self.mesh.locks.acquire("job").release())

    def test_a_process_that_was_stopped_past_its_ttl_sees_the_loss_before_anything_else(self):
        self.door.on("POST", JOB, events(("acquired", grant(3))))
        self.door.on("PUT", JOB, send(200, grant(3)))
        program = """
from mesh_controller import Mesh
lock = Mesh().locks.acquire("job", ttl=1)
print("held", lock.held, flush=True)
input()
print("lost", lock.lost.is_set(), lock.held, flush=True)
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
            self.assertEqual(child.stdout.readline(), "lost True False\n")
            self.assertEqual(child.wait(10), 0, "a held lock does not keep the program running")


class LeaderTest(DoorTest):
    def test_a_leader_is_asked_for_under_its_group_and_elect_waits_without_end(self):
        path = "/v1/leaders/a%2Fb%20c"
        self.door.on("POST", path, events(("problem", problem_of(409, "held", holder="web-2"))), times=2)
        self.door.on("POST", path, events(("acquired", grant(4))))
        self.door.on("DELETE", path, send(204))
        leader = self.mesh.leader
        self.assertIsNone(leader.try_elect("a/b c"))
        self.assertIsNone(leader.run_when_leader("a/b c", lambda _: self.fail("another leads")))
        self.assertEqual(leader.run_when_leader("a/b c", lambda leadership: leadership.fence, wait=True), 4)
        with leader.elect("a/b c") as leadership:
            self.assertEqual((leadership.group, leadership.fence), ("a/b c", 4))
        self.assertEqual([body.get("wait") for body in self.bodies("POST")], ["0s", "0s", None, None])
        self.assertEqual(len(self.door.seen("DELETE")), 2)

    def test_observe_tells_each_change_once_also_over_connections_that_break(self):
        path = "/v1/leaders/g"
        one = ("leader", {"group": "g", "fence": 1, "holder": "web-1"})
        two = ("leader", {"group": "g", "fence": 2, "holder": "web-2"})
        self.door.on("GET", path, events(one, then=lambda exchange: exchange.end()), times=1)
        self.door.on("GET", path, problem(503, "unavailable"), times=1)
        self.door.on("GET", path, events(one, ("none", {}), two), times=1)
        watching = self.mesh.leader.observe("g")
        seen = [next(watching) for _ in range(3)]
        watching.close()
        self.assertEqual([leader and leader["holder"] for leader in seen], ["web-1", None, "web-2"])
        until(lambda: all(request.is_over for request in self.door.requests))


class CleanupTest(DoorTest):
    def setUp(self):
        super().setUp()
        self.cleanup = self.mesh.cleanup
        self.addCleanup(self.cleanup.stop)

    def snapshot(self):
        return self.cleanup.snapshots()[0]

    def test_a_task_runs_only_when_it_leads_and_has_the_lock_otherwise_it_is_skipped_which_is_no_run(self):
        held = events(("problem", problem_of(409, "held")))
        leader = "/v1/leaders/cleanup%3Atmp"
        self.door.on("POST", leader, held, times=1)
        self.door.on("POST", leader, events(("acquired", grant(20))))
        self.door.on("POST", JOB, held, times=1)
        self.door.on("POST", JOB, events(("acquired", grant(30))))
        self.door.on("DELETE", JOB, send(204))
        self.door.on("DELETE", leader, send(204))
        runs = []
        self.cleanup.task("tmp", runs.append, interval=0.1, leader=True, lock_key="job")
        self.assertEqual((self.snapshot().status, self.snapshot().interval, self.snapshot().runs), ("idle", 0.1, 0))
        self.cleanup.start()
        until(lambda: self.snapshot().status == "skipped")
        self.assertEqual((len(self.door.seen("POST")), self.snapshot().runs), (1, 0), "without leading the lock is not asked for")
        until(lambda: len(self.door.seen("POST")) == 3)
        until(lambda: self.snapshot().status == "skipped")
        self.assertEqual((self.snapshot().runs, self.snapshot().failures), (0, 0))
        until(lambda: self.snapshot().runs == 2 and self.snapshot().status == "succeeded")
        self.assertEqual((runs[0].task, runs[0].fence), ("tmp", 30))
        self.assertEqual([request.path for request in self.door.seen("POST")].count(leader), 2, "the leadership is kept between runs")
        self.cleanup.stop()
        self.assertEqual((self.snapshot().status, self.snapshot().next_run_at), ("stopped", None))
        self.assertEqual(self.door.seen("DELETE")[-1].path, leader)

    def test_a_run_is_told_when_its_time_is_over_and_the_next_comes_an_interval_after_its_end(self):
        path = "/v1/locks/cleanup%3Atmp"
        self.door.on("POST", path, events(("acquired", grant(30))))
        self.door.on("DELETE", path, send(204))
        times = []

        def run(run):
            times.append(time.monotonic())
            run.cancelled.wait(5)
            time.sleep(0.1)
            times.append(time.monotonic())
            run.check()

        self.cleanup.task("tmp", run, interval=0.2, max_runtime=0.1)
        self.cleanup.start()
        until(lambda: len(times) >= 3)
        self.assertTrue(times[1] - times[0] >= 0.195 and times[2] - times[1] >= 0.195, times)
        snapshot = self.snapshot()
        self.assertEqual((snapshot.status, snapshot.failures, snapshot.last_error), ("running", 1, "it ran for longer than 0.1 s"))
        self.assertGreaterEqual(snapshot.last_duration, 0.195)
        self.cleanup.stop()
        self.assertEqual(self.snapshot().failures, 1, "being stopped is no failure")

    def test_a_run_is_told_of_a_loss_and_failed(self):
        lost = ("lost", {"fence": 30, "reason": "TakenAway", "detail": "by hand"})
        for path in ("/v1/locks/cleanup%3Alocked", "/v1/leaders/cleanup%3Aled"):
            self.door.on("POST", path, events(("acquired", grant(30)), lost), times=1)
        self.cleanup.task("locked", lambda run: run.cancelled.wait(5), interval=60, initial_delay=0.01)
        self.cleanup.task("led", lambda run: run.cancelled.wait(5), interval=60, initial_delay=0.01, leader=True)
        self.cleanup.start()
        until(lambda: all(snapshot.status == "failed" for snapshot in self.cleanup.snapshots()))
        for snapshot in self.cleanup.snapshots():
            self.assertRegex(snapshot.last_error, "TakenAway")
            self.assertLess(snapshot.last_duration, 2)

    def test_stop_tells_what_runs_and_waits_for_its_end(self):
        self.door.on("POST", JOB, events(("acquired", grant(30))))
        self.door.on("DELETE", JOB, send(204))
        self.door.on("PUT", JOB, send(200, grant(30)))
        begun, ends = threading.Event(), []

        def run(run):
            begun.set()
            with self.assertRaisesRegex(MeshError, "was stopped"):
                ends.append(run.cancelled.wait(30))
                run.check()

        self.cleanup.task("tmp", run, interval=0.1, lock_key="job")
        self.cleanup.start()
        begun.wait(10)
        time.sleep(0.1)
        self.cleanup.stop()
        self.assertEqual((ends, len(self.door.seen("DELETE"))), ([True], 1))
        self.assertEqual((self.snapshot().status, self.snapshot().failures), ("stopped", 0))

    def test_an_agent_that_is_away_fails_a_task_which_goes_on(self):
        self.door.on("POST", JOB, broken, times=1)
        self.door.on("POST", JOB, events(("acquired", grant(30))))
        self.door.on("DELETE", JOB, send(204))
        self.cleanup.start()
        self.cleanup.task("late", lambda run: None, interval=0.1, lock_key="job")
        until(lambda: self.snapshot().failures == 1)
        self.assertRegex(self.snapshot().last_error, "did not answer")
        until(lambda: self.snapshot().status == "succeeded")
        self.assertIsNone(self.snapshot().last_error)

    def test_a_task_that_cannot_be_is_refused_by_field(self):
        for field, settings in [("interval", {"interval": 0}), ("jitter", {"interval": 1, "jitter": -1})]:
            with self.assertRaises(MeshError) as caught:
                self.cleanup.task("a", print, **settings)
            self.assertEqual(caught.exception.field, field)
        self.cleanup.task("a", print, interval=1)
        with self.assertRaisesRegex(MeshError, "name: "):
            self.cleanup.task("a", print, interval=1)
