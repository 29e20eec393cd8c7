import type { Clock } from './clock.ts';

export interface Timer {
  cancel(): void;
}

class Task implements Timer {
  dueMs: number;
  readonly order: number;
  run: (() => void) | null;
  readonly everyMs: number;
  private readonly timers: Timers;

  constructor(timers: Timers, dueMs: number, order: number, run: () => void, everyMs: number) {
    this.timers = timers;
    this.dueMs = dueMs;
    this.order = order;
    this.run = run;
    this.everyMs = everyMs;
  }

  cancel(): void {
    if (this.run === null) return;
    this.run = null;
    this.timers.taskCancelled();
  }
}

/** Cancelled tasks below which they just wait for their time. */
const cancelledMin = 64;

/**
 * All timers of the broker on one binary heap and at most one timer of the runtime, so that a timer costs an object
 * and tests can move the clock. Those who have one deadline each for thousands of things (keep-alives) sweep with `every`.
 */
export class Timers {
  private readonly clock: Clock;
  private heap: Task[] = [];
  private cancelled = 0;
  private order = 0;
  private alarm: NodeJS.Timeout | null = null;
  private alarmMs = Number.POSITIVE_INFINITY;
  private readonly manual: boolean;

  /** @param manual when true nothing fires by itself: the owner calls `runDue` after it has moved the clock. */
  constructor(clock: Clock, manual = false) {
    this.clock = clock;
    this.manual = manual;
  }

  after(ms: number, run: () => void): Timer {
    return this.add(new Task(this, this.clock.nowMs + ms, this.order++, run, 0));
  }

  every(ms: number, run: () => void): Timer {
    return this.add(new Task(this, this.clock.nowMs + ms, this.order++, run, ms));
  }

  /** Milliseconds since the epoch at which the next timer is due, or Infinity. */
  get nextDueMs(): number {
    return this.heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /** What these set off for at once comes in a turn of its own: sockets are served in between. */
  runDue(): void {
    this.clock.refresh();
    const { nowMs } = this.clock;
    const end = this.order;
    for (let head = this.heap[0]; head !== undefined && head.dueMs <= nowMs && head.order < end; head = this.heap[0]) {
      this.removeHead();
      const run = head.run;
      if (run === null) {
        this.cancelled -= 1;
        continue;
      }
      if (head.everyMs > 0) {
        head.dueMs = this.clock.nowMs + head.everyMs;
        this.add(head);
      } else head.run = null;
      run();
    }
    this.arm();
  }

  /** How many tasks wait, cancelled ones with them. */
  get size(): number {
    return this.heap.length;
  }

  // A far deadline that is set and cancelled with every reconnection must not pile up until it is due.
  taskCancelled(): void {
    this.cancelled += 1;
    if (this.cancelled < cancelledMin || this.cancelled * 2 < this.heap.length) return;
    // In order of time an array is a heap.
    this.heap = this.heap.filter((task) => task.run !== null).sort((a, b) => (before(a, b) ? -1 : 1));
    this.cancelled = 0;
  }

  stop(): void {
    this.heap.length = 0;
    this.cancelled = 0;
    if (this.alarm !== null) clearTimeout(this.alarm);
    this.alarm = null;
  }

  private add(task: Task): Timer {
    const heap = this.heap;
    let at = heap.length;
    heap.push(task);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(task, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = task;
    if (at === 0) this.arm();
    return task;
  }

  private removeHead(): void {
    const heap = this.heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }

  private arm(): void {
    const due = this.nextDueMs;
    if (this.manual || (this.alarm !== null && this.alarmMs === due)) return;
    if (this.alarm !== null) clearTimeout(this.alarm);
    this.alarm = null;
    if (due === Number.POSITIVE_INFINITY) return;
    this.alarmMs = due;
    this.clock.refresh();
    // 2^31 - 1 is the longest delay that the runtime takes; a farther one is armed again when this one fires.
    this.alarm = setTimeout(
      () => {
        this.alarm = null;
        this.runDue();
      },
      Math.min(Math.max(due - this.clock.nowMs, 0), 0x7fffffff),
    );
    this.alarm.unref();
  }
}

function before(a: Task, b: Task): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
