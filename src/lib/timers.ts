import type { Clock } from './clock.ts';

export interface Timer {
  cancel(): void;
}

class Task implements Timer {
  dueMs: number;
  readonly order: number;
  run: (() => void) | null;
  readonly everyMs: number;

  constructor(dueMs: number, order: number, run: () => void, everyMs: number) {
    this.dueMs = dueMs;
    this.order = order;
    this.run = run;
    this.everyMs = everyMs;
  }

  cancel(): void {
    this.run = null;
  }
}

/**
 * All timers of the broker on one binary heap and at most one timer of the runtime, so that a timer costs an object
 * and tests can move the clock. Those who have one deadline each for thousands of things (keep-alives) sweep with `every`.
 */
export class Timers {
  private readonly clock: Clock;
  private readonly heap: Task[] = [];
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
    return this.add(new Task(this.clock.nowMs + ms, this.order++, run, 0));
  }

  every(ms: number, run: () => void): Timer {
    return this.add(new Task(this.clock.nowMs + ms, this.order++, run, ms));
  }

  /** Milliseconds since the epoch at which the next timer is due, or Infinity. */
  get nextDueMs(): number {
    return this.heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  runDue(): void {
    this.clock.refresh();
    for (let head = this.heap[0]; head !== undefined && head.dueMs <= this.clock.nowMs; head = this.heap[0]) {
      this.removeHead();
      const run = head.run;
      if (run === null) continue;
      if (head.everyMs > 0) {
        head.dueMs = this.clock.nowMs + head.everyMs;
        this.add(head);
      }
      run();
    }
    this.arm();
  }

  stop(): void {
    this.heap.length = 0;
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
