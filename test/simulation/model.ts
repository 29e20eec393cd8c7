/** What a broker is to do, without memory, disk, or any concern for speed. */

export interface QueueShape {
  readonly durable: boolean;
  readonly ttlMs: number;
  readonly maxLength: number;
  readonly refuses: boolean;
  readonly maxPriority: number;
  /** The queue that its dead messages go to, or ''. */
  readonly deadTo: string;
}

export interface Published {
  readonly body: string;
  readonly durable: boolean;
  readonly priority: number;
  /** Milliseconds from now, 0 = never. */
  readonly expirationMs: number;
}

export interface Held {
  readonly queue: ModelQueue;
  readonly message: Published;
  readonly sequence: number;
  /** 0 = never. */
  readonly dueMs: number;
}

export class ModelQueue {
  readonly name: string;
  readonly shape: QueueShape;
  /** In the order in which they are delivered. */
  ready: Held[] = [];

  constructor(name: string, shape: QueueShape) {
    this.name = name;
    this.shape = shape;
  }

  insert(held: Held): void {
    this.ready.push(held);
    this.ready.sort((a, b) => this.levelOf(b) - this.levelOf(a) || a.sequence - b.sequence);
  }

  private levelOf({ message }: Held): number {
    return Math.min(Math.max(message.priority, 0), this.shape.maxPriority);
  }
}

export class Model {
  readonly queues = new Map<string, ModelQueue>();
  /** Queues that the fanout exchange leads to. */
  readonly bound = new Set<string>();
  nowMs = 0;
  private sequence = 0;
  private readonly unacked = new Set<Held>();

  declare(name: string, shape: QueueShape): void {
    if (!this.queues.has(name)) this.queues.set(name, new ModelQueue(name, shape));
  }

  delete(name: string): void {
    this.queues.delete(name);
    this.bound.delete(name);
  }

  publish(names: Iterable<string>, message: Published): void {
    this.sequence += 1;
    const queues = [...names].map((name) => this.queues.get(name)).filter((queue) => queue !== undefined);
    for (const queue of queues) {
      const { refuses, maxLength, ttlMs } = queue.shape;
      if (refuses && queue.ready.length >= maxLength) continue;
      const times = [message.expirationMs, ttlMs].filter((ms) => ms > 0);
      const dueMs = times.length === 0 ? 0 : this.nowMs + Math.min(...times);
      queue.insert({ queue, message, sequence: this.sequence, dueMs });
    }
    for (const queue of queues) this.tidy(queue);
  }

  /** Takes up to `count` that `wanted` is true for; they are unacked. */
  take(name: string, count: number, wanted: (body: string) => boolean = () => true): Held[] {
    const queue = this.queues.get(name)!;
    const taken = queue.ready.filter(({ message }) => wanted(message.body)).slice(0, count);
    queue.ready = queue.ready.filter((held) => !taken.includes(held));
    for (const held of taken) this.unacked.add(held);
    return taken;
  }

  settle(held: Held, how: 'ack' | 'requeue' | 'reject'): void {
    this.unacked.delete(held);
    if (this.queues.get(held.queue.name) !== held.queue) return;
    if (how === 'reject') this.die(held);
    if (how === 'requeue') {
      held.queue.insert(held);
      this.tidy(held.queue);
    }
  }

  purge(name: string): void {
    this.queues.get(name)!.ready = [];
  }

  advance(ms: number): void {
    this.nowMs += ms;
    for (const queue of [...this.queues.values()]) this.tidy(queue);
  }

  /** What is durable stays, and is ready. */
  crash(): void {
    for (const held of this.unacked) if (this.queues.get(held.queue.name) === held.queue) held.queue.insert(held);
    this.unacked.clear();
    for (const queue of [...this.queues.values()]) {
      if (queue.shape.durable) queue.ready = queue.ready.filter(({ message }) => message.durable);
      else this.delete(queue.name);
    }
    this.advance(0);
  }

  private tidy(queue: ModelQueue): void {
    const dead = queue.ready.filter(({ dueMs }) => dueMs > 0 && dueMs <= this.nowMs);
    queue.ready = queue.ready.filter((held) => !dead.includes(held));
    for (const held of dead) this.die(held);
    const { refuses, maxLength } = queue.shape;
    while (!refuses && queue.ready.length > maxLength) this.die(queue.ready.shift()!);
  }

  // Without expiry: it would die again where it is to be looked at.
  private die({ queue, message }: Held): void {
    const { deadTo } = queue.shape;
    if (deadTo !== '') this.publish([deadTo], { ...message, expirationMs: 0 });
  }
}
