import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Ring } from '../../../src/lib/ring.ts';

function ringOf(...items: number[]): Ring<number> {
  const ring = new Ring<number>();
  for (const item of items) ring.push(item);
  return ring;
}

test('an empty ring has nothing to give', () => {
  const ring = new Ring<number>();
  expect([ring.shift(), ring.pop(), ring.at(0), ring.length]).toEqual([undefined, undefined, undefined, 0]);
});

test('items outside the length are not there', () => {
  const ring = ringOf(1, 2);
  expect([ring.at(-1), ring.at(2)]).toEqual([undefined, undefined]);
});

test('filter keeps the order', () => {
  const ring = ringOf(1, 2, 3, 4, 5, 6, 7, 8, 9);
  ring.shift();
  ring.filter((item) => item % 2 === 1);
  expect([...ring]).toEqual([3, 5, 7, 9]);
});

test('it gives back what a burst made it take, and goes on', () => {
  const ring = new Ring<number>();
  for (let i = 0; i < 10_000; i++) ring.push(i);
  for (let i = 0; i < 10_000; i++) expect(ring.shift()).toBe(i);
  ring.push(1);
  expect([...ring]).toEqual([1]);
});

const steps = fc.array(
  fc.oneof(
    { weight: 40, arbitrary: fc.record({ do: fc.constant('push' as const), item: fc.nat() }) },
    { weight: 20, arbitrary: fc.record({ do: fc.constant('unshift' as const), item: fc.nat() }) },
    { weight: 10, arbitrary: fc.record({ do: fc.constant('shift' as const) }) },
    { weight: 10, arbitrary: fc.record({ do: fc.constant('pop' as const) }) },
    { weight: 10, arbitrary: fc.record({ do: fc.constant('set' as const), index: fc.nat(40), item: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const) }) },
  ),
  { maxLength: 200 },
);

test('it does what an array does, whatever is done', () => {
  fc.assert(
    fc.property(steps, (program) => {
      const ring = new Ring<number>();
      const model: number[] = [];
      for (const step of program) {
        switch (step.do) {
          case 'push':
            ring.push(step.item);
            model.push(step.item);
            break;
          case 'unshift':
            ring.unshift(step.item);
            model.unshift(step.item);
            break;
          case 'shift':
            expect(ring.shift()).toBe(model.shift());
            break;
          case 'pop':
            expect(ring.pop()).toBe(model.pop());
            break;
          case 'set':
            if (step.index >= model.length) break;
            ring.set(step.index, step.item);
            model[step.index] = step.item;
            break;
          case 'clear':
            ring.clear();
            model.length = 0;
            break;
        }
        expect(ring.length).toBe(model.length);
      }
      expect([...ring]).toEqual(model);
      expect(model.map((_item, index) => ring.at(index))).toEqual(model);
    }),
  );
});
