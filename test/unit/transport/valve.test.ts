import { beforeEach, expect, test } from 'vitest';
import { Valve } from '../../../src/transport/valve.ts';

let reads: boolean;
let valve: Valve;

beforeEach(() => {
  reads = true;
  valve = new Valve({
    pause() {
      reads = false;
    },
    resume() {
      reads = true;
    },
  });
});

test('a publisher is held back from its first publish in an alarm until the alarm is over', () => {
  valve.hold();
  expect(reads).toBe(true);
  valve.alarm('memory');
  expect(reads).toBe(true); // it may never publish
  valve.hold();
  expect({ reads, shut: valve.shut }).toEqual({ reads: false, shut: true });
  valve.sweep(false);
  expect(reads).toBe(false);
  valve.alarm(null);
  expect({ reads, shut: valve.shut }).toEqual({ reads: true, shut: false });
  valve.hold();
  expect(reads).toBe(true);
});

test('one that consumes too is read a little at each sweep', () => {
  valve.alarm('disk');
  valve.hold();
  valve.sweep(true);
  expect(reads).toBe(true);
  valve.hold();
  expect(reads).toBe(false);
});
