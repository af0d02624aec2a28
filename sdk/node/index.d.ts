/** The agent of this machine, as one instance of a service sees it. */
export class Mesh {
  /** Throws a `MeshError` that says what to set if an option and its variable are missing or wrong. */
  constructor(options?: MeshOptions);
  readonly locks: Locks;
  readonly leader: Leaders;
  readonly cleanup: Cleanup;
  /** Who this program is, as the agent knows it by its token. */
  self(options?: Cancellable): Promise<Self>;
}

export interface MeshOptions {
  /** `unix:///path/agent.sock` or `http://host:port`; default: `MESH_AGENT`. */
  agent?: string;
  /** A file with the token, read for each request; default: `MESH_TOKEN_FILE`. */
  tokenFile?: string;
}

export interface Cancellable {
  /** Gives up: the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface Self {
  namespace: string;
  service: string;
  instance: string;
  attempt: number;
}

/** Locks of the namespace. They are not re-entrant: who asks for a key that it holds waits for itself. */
export interface Locks {
  /** Waits in a queue, first come, first served; rejects with a `MeshLockTimeoutError` when the wait is over. */
  acquire(key: string, options?: AcquireOptions): Promise<Lock>;
  /** Null if somebody holds it. */
  tryAcquire(key: string, options?: LeaseOptions): Promise<Lock | null>;
  /**
   * Acquires, works, and always releases. A loss aborts the work's signal, and once the work has ended the promise rejects
   * with the `LockLostError`. The caller's own signal aborts the work's as well.
   */
  runExclusive<T>(key: string, options: AcquireOptions, work: (held: Exclusive) => T | PromiseLike<T>): Promise<T>;
  runExclusive<T>(key: string, work: (held: Exclusive) => T | PromiseLike<T>): Promise<T>;
  list(options?: Cancellable): Promise<LockInfo[]>;
  /** Null if nobody holds it. */
  get(key: string, options?: Cancellable): Promise<LockInfo | null>;
}

export interface Leaders {
  /** Campaigns until this instance leads; without `waitMs` that is without end. */
  elect(group: string, options?: AcquireOptions): Promise<Leadership>;
  /** Null if another leads. */
  tryElect(group: string, options?: LeaseOptions): Promise<Leadership | null>;
  /**
   * Leads, works, and always resigns; resolves with null at once if another leads. With `wait: true` it campaigns instead.
   * A loss is told as by `runExclusive`.
   */
  runWhenLeader<T>(group: string, options: CampaignOptions & { wait: true }, work: (held: Leading) => T | PromiseLike<T>): Promise<T>;
  runWhenLeader<T>(group: string, options: CampaignOptions, work: (held: Leading) => T | PromiseLike<T>): Promise<T | null>;
  runWhenLeader<T>(group: string, work: (held: Leading) => T | PromiseLike<T>): Promise<T | null>;
  list(options?: Cancellable): Promise<LeaderInfo[]>;
  /** Who leads now, then each change; null while nobody does. Ends by `break`, or rejects when the signal is aborted. */
  observe(group: string, options?: Cancellable): AsyncGenerator<LeaderInfo | null, never, void>;
}

export interface LeaseOptions extends Cancellable {
  /** How long it stays held when this process or its agent falls silent: whole seconds from 1000; default 30000. */
  ttlMs?: number;
  /** Told to everybody who lists or gets it; at most 4096 bytes of JSON. */
  metadata?: Record<string, unknown>;
}

export interface AcquireOptions extends LeaseOptions {
  /** How long to wait while somebody else holds it; default 0 for locks, without end for leaders. */
  waitMs?: number;
}

/** Without `wait` there is no `waitMs`. */
export interface CampaignOptions extends AcquireOptions {
  wait?: boolean;
}

/** What is held. It renews itself, and keeps the process alive, until it is released or lost. */
export interface Lease extends AsyncDisposable {
  /**
   * Grows with every holder. Send it with each write to what the lease protects, and let that refuse a fence lower than one it
   * has seen: only that stops a process which was paused between its last look at `held` and its write.
   */
  readonly fence: number;
  /** Aborted with a `LockLostError` when it is lost. A process that was stopped hears of it when its timers run again. */
  readonly signal: AbortSignal;
  /** Whether it is held now. Reads the clock, so it is right even before late timers run. */
  readonly held: boolean;
  /** Renews now, beside the renewals that happen anyway; rejects with a `LockLostError` if it is not held any more. */
  renew(options?: Cancellable): Promise<void>;
  /** True if this ended it, false if it had been lost or the agent could not be told. Never rejects. */
  release(): Promise<boolean>;
}

export interface Lock extends Lease {
  readonly key: string;
}

export interface Leadership extends Lease {
  readonly group: string;
}

export interface Leading {
  signal: AbortSignal;
  fence: number;
}

export interface Exclusive extends Leading {
  lock: Lock;
}

/** A held lease as the agent tells it. Times are RFC 3339 in UTC. */
export interface LeaseInfo {
  fence: number;
  /** The name of the instance that holds it. */
  holder: string;
  /** A duration such as `30s`. */
  ttl: string;
  acquiredAt: string;
  renewedAt: string;
  expiresAt: string;
  metadata: Record<string, unknown>;
}

export interface LockInfo extends LeaseInfo {
  key: string;
}

export interface LeaderInfo extends LeaseInfo {
  group: string;
}

/** Tasks that come again and again, each run by one instance at a time. */
export interface Cleanup {
  task(name: string, options: CleanupOptions): void;
  /** Starts every task, also those that are added later. Waiting for the next run does not keep the process alive. */
  start(): void;
  /** Aborts what runs; resolves once it has ended and nothing is held any more. */
  stop(): Promise<void>;
  /** By name. */
  snapshots(): CleanupSnapshot[];
}

export interface CleanupOptions {
  /** From the end of a run to the start of the next. */
  intervalMs: number;
  /** Before the first run; default 0. */
  initialDelayMs?: number;
  /** Up to so much longer, by chance, before each run; default 0. */
  jitterMs?: number;
  /** Only the leader runs it: of this group, or (true) of `cleanup:NAME`. It leads from its first run to `stop()`. */
  leader?: boolean | string;
  /** Held during a run; default: `cleanup:NAME`, or none with `leader`. */
  lockKey?: string;
  /** After so long the run's signal is aborted with a `TimeoutError`. */
  maxRuntimeMs?: number;
  run(run: CleanupRun): unknown;
}

export interface CleanupRun {
  /** The task's name. */
  task: string;
  /** Aborted by a loss, by `maxRuntimeMs` and by `stop()`. */
  signal: AbortSignal;
  /** Of the lock; without one, of the leadership. */
  fence: number;
  startedAt: string;
}

export interface CleanupSnapshot {
  name: string;
  /** `skipped`: another instance leads or has the lock, which is no run. */
  status: "idle" | "running" | "succeeded" | "failed" | "skipped" | "stopped";
  intervalMs: number;
  lastRunAt?: string;
  nextRunAt?: string;
  lastDurationMs?: number;
  lastError?: string;
  runs: number;
  failures: number;
}

/** What the agent refused, or what kept it from being asked. */
export class MeshError extends Error {
  /** The last part of the problem's type, such as `unauthorized`, `invalid`, `unavailable`; `unreachable` if there was no answer. */
  readonly type: string;
  /** The HTTP status, if there was an answer. */
  readonly status?: number;
  readonly detail: string;
  /** The field that is wrong. */
  readonly field?: string;
  /** The agent's answer, whole (RFC 9457). */
  readonly problem?: Record<string, unknown>;
}

/** A lock or a leadership that could not be had or kept. */
export class MeshLockError extends MeshError {
  /** The lock's key, or the leader's group. */
  readonly key: string;
}

/** It was not free before the wait was over. */
export class MeshLockTimeoutError extends MeshLockError {}

/** It is not held any more: what it protects must not be touched now. */
export class LockLostError extends MeshLockError {
  readonly fence: number;
  /**
   * `NotRenewed` is also what this side decides when its own deadline is over; `NotHeld`: the agent does not know that it ever was
   * this program's, or no longer.
   */
  readonly reason: "NotRenewed" | "InstanceEnded" | "TakenAway" | "Unavailable" | "Released" | "NotHeld";
}
