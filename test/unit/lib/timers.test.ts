import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Timers } from '../../../src/lib/timers.ts';

function create() {
  const clock = { nowMs: 1000, refresh() {} };
  const timers = new Timers(clock, true);
  const moveTo = (ms: number) => {
    clock.nowMs = ms;
    timers.runDue();
  };
  return { timers, moveTo, clock };
}

test('a timer runs once, when it is due and not before', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  timers.after(10, () => {
    runs += 1;
  });
  moveTo(1009);
  expect(runs).toBe(0);
  moveTo(1010);
  moveTo(5000);
  expect(runs).toBe(1);
});

test('a cancelled timer never runs', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  const timer = timers.after(10, () => {
    runs += 1;
  });
  timer.cancel();
  moveTo(2000);
  expect(runs).toBe(0);
});

test('a repeating timer runs until it is cancelled, from within too', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  const timer = timers.every(10, () => {
    runs += 1;
    if (runs === 3) timer.cancel();
  });
  for (let ms = 1000; ms < 1100; ms += 1) moveTo(ms);
  expect(runs).toBe(3);
});

test('a repeating timer that was late does not run again for every time that it missed', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  timers.every(10, () => {
    runs += 1;
  });
  moveTo(5000);
  expect(runs).toBe(1);
});

test('what is due at the same time runs in the order in which it was asked for', () => {
  const { timers, moveTo } = create();
  const order: number[] = [];
  for (let i = 0; i < 20; i++) timers.after(10, () => order.push(i));
  moveTo(1010);
  expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
});

test('a timer set by a timer for now runs in a turn of its own, in which others come as well', () => {
  const { timers, moveTo } = create();
  const seen: string[] = [];
  timers.after(10, () => {
    seen.push('first');
    timers.after(0, () => seen.push('second'));
  });
  timers.after(10, () => seen.push('other'));
  moveTo(1010);
  expect(seen).toEqual(['first', 'other']);
  moveTo(1010);
  expect(seen).toEqual(['first', 'other', 'second']);
});

test('after stop nothing runs', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  timers.after(10, () => {
    runs += 1;
  });
  timers.stop();
  moveTo(2000);
  expect(runs).toBe(0);
  expect(timers.nextDueMs).toBe(Number.POSITIVE_INFINITY);
});

test('deadlines that are set and cancelled again and again take no memory', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  timers.after(500, () => {
    runs += 1;
  });
  for (let i = 0; i < 10_000; i++) timers.after(1_000_000, () => {}).cancel();
  expect(timers.size).toBeLessThan(200);
  moveTo(1500);
  expect(runs).toBe(1);
});

test('cancelling what has run changes nothing', () => {
  const { timers, moveTo } = create();
  let runs = 0;
  const first = timers.after(1, () => {});
  for (let i = 0; i < 100; i++) {
    timers.after(10, () => {
      runs += 1;
    });
  }
  moveTo(1001);
  for (let i = 0; i < 200; i++) first.cancel();
  moveTo(1010);
  expect(runs).toBe(100);
});

test('whatever is set and cancelled, the rest runs in the order of their times', () => {
  const timer = fc.record({ ms: fc.nat(50), cancelled: fc.boolean() });
  fc.assert(
    fc.property(fc.array(timer, { maxLength: 300 }), (wanted) => {
      const { timers, moveTo } = create();
      const ran: number[] = [];
      for (const [i, { ms, cancelled }] of wanted.entries()) {
        const set = timers.after(ms, () => ran.push(i));
        if (cancelled) set.cancel();
      }
      for (let ms = 1000; ms <= 1050; ms += 5) moveTo(ms);
      const expected = wanted
        .map(({ ms, cancelled }, i) => ({ ms, cancelled, i }))
        .filter((each) => !each.cancelled)
        .sort((a, b) => a.ms - b.ms || a.i - b.i)
        .map((each) => each.i);
      expect(ran).toEqual(expected);
    }),
  );
});
