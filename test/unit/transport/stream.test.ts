import { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { Stream, type StreamHandler } from '../../../src/transport/stream.ts';

const clock = { nowMs: 1000, refresh() {} };

afterEach(() => {
  vi.useRealTimers();
});

/** The peer's end: takes what is written when it likes, and says whatever a test wants. */
class Peer extends Duplex {
  received: Buffer = Buffer.alloc(0);
  /** True: writes wait for `takeWrite`. */
  slow = false;
  reads = true;
  private readonly waiting: (() => void)[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const copy = Buffer.from(chunk);
    const take = () => {
      // Copied again at the time it is taken: a batch that was reused too early shows.
      expect(chunk.equals(copy)).toBe(true);
      this.received = Buffer.concat([this.received, chunk]);
      done();
    };
    if (this.slow) this.waiting.push(take);
    else take();
  }

  takeWrite(): void {
    this.waiting.shift()?.();
  }

  override pause(): this {
    this.reads = false;
    return super.pause();
  }

  override resume(): this {
    this.reads = true;
    return super.resume();
  }
}

/** Frames of one octet of length and as many of text; `announces` says whether it tells how long a cut one is. */
class Frames implements StreamHandler {
  readonly seen: string[] = [];
  readonly announces: boolean;
  readonly stream: Stream;
  drains = 0;
  closes: string[] = [];
  lastWords: Buffer | null = null;
  onFrame: (text: string) => void = () => {};

  constructor(stream: Stream, announces = true) {
    this.stream = stream;
    this.announces = announces;
  }

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    while (at < end && this.stream.open && !this.stream.held && this.stream.handler === this) {
      const next = at + 1 + chunk[at]!;
      if (next > end) {
        if (this.announces) this.stream.want = next - at;
        break;
      }
      const text = chunk.toString('latin1', at + 1, next);
      this.seen.push(text);
      at = next;
      this.onFrame(text);
    }
    return at;
  }

  onDrain(): void {
    this.drains += 1;
  }

  onFlush(): void {
    if (this.lastWords !== null) this.stream.write(this.lastWords);
    this.lastWords = null;
  }

  onClose(error: string): void {
    this.closes.push(error);
  }
}

function open(announces = true) {
  const peer = new Peer();
  const faults: unknown[] = [];
  const log = { level: 'debug', debug() {}, info() {}, warn() {}, error: (fields: object) => faults.push(fields) };
  const stream = new Stream(peer, clock, log, {
    address: '127.0.0.1',
    port: 1,
    local: '127.0.0.1:2',
  });
  const handler = new Frames(stream, announces);
  stream.handler = handler;
  peer.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
  const say = (bytes: Buffer) => {
    // As the shared read buffer is: larger than what was read, and written over as soon as the call returns.
    const chunk = Buffer.alloc(bytes.length + 8, 0xff);
    bytes.copy(chunk);
    stream.receive(chunk, bytes.length);
    chunk.fill(0xee);
  };
  return { peer, stream, handler, faults, say };
}

function frames(...texts: string[]): Buffer {
  return Buffer.concat(texts.map((text) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])));
}

const texts = ['one', '', 'three', 'x'.repeat(255), 'five', 'y'.repeat(130)];

for (const announces of [true, false]) {
  const kind = announces ? 'with announced lengths' : 'without';

  test(`frames ${kind} arrive whole, octet by octet`, () => {
    const { handler, say } = open(announces);
    for (const octet of frames(...texts)) say(Buffer.from([octet]));
    expect(handler.seen).toEqual(texts);
  });

  test(`frames ${kind} arrive whole, cut at every two offsets`, () => {
    const bytes = frames(...texts);
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second += 7) {
        const { handler, say } = open(announces);
        say(bytes.subarray(0, first));
        say(bytes.subarray(first, second));
        say(bytes.subarray(second));
        expect(handler.seen).toEqual(texts);
      }
    }
  });

  test(`frames ${kind} that a handler holds one by one all arrive, in order`, async () => {
    const { stream, handler, say } = open(announces);
    handler.onFrame = () => {
      stream.hold();
      setImmediate(() => stream.release());
    };
    const bytes = frames(...texts);
    for (let at = 0; at < bytes.length; at += 50) say(bytes.subarray(at, at + 50));
    expect(handler.seen).toEqual(['one']);
    while (stream.held) await nextTurn();
    expect(handler.seen).toEqual(texts);
  });
}

test('a cut frame is completed, and what follows it is handled where it lies', () => {
  const { stream, handler, say } = open();
  const lengths: number[] = [];
  const onBytes = handler.onBytes.bind(handler);
  handler.onBytes = (chunk, end) => {
    lengths.push(end);
    return onBytes(chunk, end);
  };
  say(frames('abcdef').subarray(0, 3));
  say(Buffer.concat([frames('abcdef').subarray(3), frames('b'.repeat(200), 'c'.repeat(200))]));
  expect(handler.seen).toEqual(['abcdef', 'b'.repeat(200), 'c'.repeat(200)]);
  expect(lengths).toEqual([3, 7, 402]);
  expect(stream.want).toBe(0);
});

test('hold and release within one call change nothing', () => {
  const { stream, handler, say } = open();
  handler.onFrame = () => {
    stream.hold();
    stream.release();
  };
  say(frames('a', 'b', 'c'));
  expect(handler.seen).toEqual(['a', 'b', 'c']);
});

test('as many releases as holds are needed', () => {
  const { stream, handler, say } = open();
  stream.hold();
  stream.hold();
  say(frames('a'));
  stream.release();
  expect(handler.seen).toEqual([]);
  stream.release();
  expect(handler.seen).toEqual(['a']);
});

test('a held connection is read no further than a bound, and on when it is released', () => {
  const { peer, stream, handler, say } = open();
  stream.hold();
  say(frames(...Array.from({ length: 200 }, () => 'z'.repeat(255))));
  expect(peer.reads).toBe(true);
  say(frames(...Array.from({ length: 100 }, () => 'z'.repeat(255))));
  expect(peer.reads).toBe(false);
  stream.release();
  expect(handler.seen.length).toBe(300);
  expect(peer.reads).toBe(true);
});

test('a paused connection stays paused when a hold ends', () => {
  const { peer, stream } = open();
  stream.pause();
  stream.hold();
  stream.release();
  expect(peer.reads).toBe(false);
  stream.resume();
  expect(peer.reads).toBe(true);
});

test('what a handler leaves goes to the one that it put in its place', () => {
  const { stream, handler, say } = open();
  const second = new Frames(stream);
  handler.onFrame = () => {
    stream.handler = second;
  };
  say(frames('hello', 'world', 'again'));
  expect(handler.seen).toEqual(['hello']);
  expect(second.seen).toEqual(['world', 'again']);
});

test('a handler put in place during a hold gets what follows it', () => {
  const { stream, handler, say } = open();
  const second = new Frames(stream);
  handler.onFrame = () => stream.hold();
  say(frames('hello', 'world'));
  stream.handler = second;
  stream.release();
  expect(second.seen).toEqual(['world']);
});

test('a connection that says much in one turn waits for the next', async () => {
  const { peer, say } = open();
  for (let i = 0; i < 1024; i++) say(frames('q'.repeat(255)));
  expect(peer.reads).toBe(false);
  await nextTurn();
  expect(peer.reads).toBe(true);
});

test('what a turn writes leaves in one write, with the last words of its handler', async () => {
  const { peer, stream, handler } = open();
  stream.write(Buffer.from('a'));
  stream.write(Buffer.from('b'));
  handler.lastWords = Buffer.from('!');
  expect(peer.received.length).toBe(0);
  await nextTurn();
  expect(peer.received.toString()).toBe('ab!');
});

test('what the peer does not take keeps its buffer until it does', async () => {
  const { peer, stream } = open();
  peer.slow = true;
  let sent = '';
  for (let i = 0; i < 40; i++) {
    const text = `${i}`.padStart(10, '.').repeat(1000);
    sent += text;
    stream.write(Buffer.from(text));
    if (i % 3 === 0) await nextTurn();
  }
  await nextTurn();
  while (peer.writableLength > 0) {
    peer.takeWrite();
    await nextTurn();
  }
  expect(peer.received.toString()).toBe(sent);
});

test('a message larger than a batch is written whole', async () => {
  const { peer, stream } = open();
  const large = Buffer.alloc(300_000, 'l');
  stream.write(Buffer.from('before '));
  stream.write(large);
  stream.write(Buffer.from(' after'));
  await nextTurn();
  expect(peer.received.toString()).toBe(`before ${large} after`);
});

test('where there is no handle a long range is copied', async () => {
  const { peer, stream } = open();
  const borrowed = Buffer.alloc(70_000, 'r');
  stream.write(Buffer.from('before '));
  stream.writeRange(borrowed, 1, 69_999, Buffer.from(' tail'));
  borrowed.fill('x');
  stream.write(Buffer.from(' after'));
  await nextTurn();
  expect(peer.received.toString()).toBe(`before ${'r'.repeat(69_998)} tail after`);
});

test('over its mark the outbox is blocked, and tells when there is room', async () => {
  const { peer, stream, handler } = open();
  peer.slow = true;
  while (!stream.blocked) stream.write(Buffer.alloc(32 * 1024));
  expect(peer.writableLength).toBeGreaterThan(1024 * 1024);
  expect(handler.drains).toBe(0);
  await nextTurn();
  while (peer.writableLength > 0) {
    peer.takeWrite();
    await nextTurn();
  }
  expect(stream.blocked).toBe(false);
  expect(handler.drains).toBe(1);
});

test('end sends what was written, and looks at nothing more', async () => {
  const { peer, stream, handler, say } = open();
  handler.onFrame = () => {
    stream.write(Buffer.from('bye'));
    stream.end();
  };
  say(frames('a', 'b'));
  say(frames('c'));
  await nextTurn();
  expect(handler.seen).toEqual(['a']);
  expect(peer.received.toString()).toBe('bye');
  expect(peer.writableEnded).toBe(true);
  expect(handler.closes).toEqual(['']);
});

test('end while the peer is slow closes behind what was written', async () => {
  const { peer, stream } = open();
  peer.slow = true;
  stream.write(Buffer.from('first'));
  await nextTurn();
  stream.write(Buffer.from(' last'));
  stream.end();
  stream.write(Buffer.from(' never'));
  await nextTurn();
  expect(peer.writableFinished).toBe(false);
  peer.takeWrite();
  await nextTurn();
  peer.takeWrite();
  await nextTurn();
  expect(peer.received.toString()).toBe('first last');
  expect(peer.writableFinished).toBe(true);
});

test('a paused connection that ends is read again, so that the peer’s end is seen', () => {
  const { peer, stream } = open();
  stream.pause();
  stream.end();
  expect(peer.reads).toBe(true);
});

test('the end of a peer is obeyed after what it said before was heard, even if that had to wait', async () => {
  const { peer, stream, handler } = open();
  handler.onFrame = (text) => {
    if (text === 'connect') stream.hold();
  };
  peer.push(frames('connect', 'publish', 'bye'));
  peer.push(null);
  while (!peer.readableEnded) await nextTurn();
  expect(handler.seen).toEqual(['connect']);
  expect(handler.closes).toEqual([]);
  stream.release();
  expect(handler.seen).toEqual(['connect', 'publish', 'bye']);
  expect(handler.closes).toEqual(['']);
});

test('a peer that breaks off is told to the handler once, with its error', async () => {
  const { peer, handler } = open();
  peer.destroy(new Error('read ECONNRESET'));
  await nextTurn();
  expect(handler.closes).toEqual(['read ECONNRESET']);
});

test('after destroy nothing is written or heard', async () => {
  const { peer, stream, handler, say } = open();
  stream.write(Buffer.from('lost'));
  stream.destroy();
  stream.write(Buffer.from('lost too'));
  say(frames('a'));
  await nextTurn();
  expect(peer.received.length).toBe(0);
  expect(handler.seen).toEqual([]);
  expect(handler.closes).toEqual(['']);
});

test('a handler that throws is logged and loses its connection; others are served', async () => {
  const broken = open();
  const well = open();
  broken.handler.onFrame = () => {
    throw new Error('assertion');
  };
  broken.say(frames('a', 'b'));
  expect(broken.faults.length).toBe(1);
  expect(broken.handler.seen).toEqual(['a']);
  expect(broken.handler.closes).toEqual(['']);
  expect(broken.peer.destroyed).toBe(true);
  well.say(frames('a'));
  expect(well.handler.seen).toEqual(['a']);
});

test('a handler that throws in its last words does not keep the others from being flushed', async () => {
  const broken = open();
  const well = open();
  broken.handler.onFlush = () => {
    throw new Error('assertion');
  };
  broken.stream.write(Buffer.from('a'));
  well.stream.write(Buffer.from('b'));
  await nextTurn();
  expect(broken.faults.length).toBe(1);
  expect(broken.peer.destroyed).toBe(true);
  expect(well.peer.received.toString()).toBe('b');
});

test('ending in the last words is the end', async () => {
  const { peer, stream, handler } = open();
  handler.onFlush = () => {
    stream.write(Buffer.from('!'));
    stream.end();
  };
  stream.write(Buffer.from('a'));
  await nextTurn();
  expect(peer.received.toString()).toBe('a!');
  expect(handler.closes).toEqual(['']);
});

test('an ended peer that reads slowly gets all of it; one that reads nothing is broken off', () => {
  vi.useFakeTimers();
  const { peer, stream } = open();
  peer.slow = true;
  for (const text of ['one', 'two', 'three']) {
    stream.write(Buffer.from(text));
    stream.flush();
  }
  stream.end();
  for (const received of ['one', 'onetwo']) {
    peer.takeWrite();
    vi.advanceTimersByTime(2000);
    expect([peer.received.toString(), peer.destroyed]).toEqual([received, false]);
  }
  vi.advanceTimersByTime(2000);
  expect(peer.destroyed).toBe(true);
});

test('an ended peer that has read all and never closes its side is broken off', () => {
  vi.useFakeTimers();
  const { peer, stream } = open();
  stream.write(Buffer.from('a'));
  stream.end();
  expect(peer.received.toString()).toBe('a');
  vi.advanceTimersByTime(2000);
  expect(peer.destroyed).toBe(true);
});
