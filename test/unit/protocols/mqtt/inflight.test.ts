import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Inflight, Outgoing } from '../../../../src/protocols/mqtt/inflight.ts';

const match = {} as Outgoing['match'];
const entry = {} as NonNullable<Outgoing['entry']>;

type Step = readonly ['add' | 'delete' | 'move' | 'get' | 'unsent' | 'sent', number];
const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom(
    'add' as const,
    'add' as const,
    'delete' as const,
    'move' as const,
    'get' as const,
    'unsent' as const,
    'sent' as const,
  ),
  fc.nat(400),
);

test('it finds, keeps in order and counts what a map would', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 40 }),
      fc.array(step, { maxLength: 400 }),
      (restored, steps) => {
        const inflight = new Inflight();
        const model = new Map<number, Outgoing>();
        for (const packetId of restored) {
          const item = new Outgoing(packetId, 1, match, entry);
          inflight.restore(item);
          model.set(packetId, item);
        }
        for (const [what, n] of steps) {
          const item = [...model.values()][n % Math.max(1, model.size)];
          if (what === 'add') {
            const added = inflight.add(entry, 1, match);
            expect(model.has(added.packetId)).toBe(false);
            expect(added.packetId).toBeGreaterThan(0);
            expect(added.packetId).toBeLessThanOrEqual(65_535);
            model.set(added.packetId, added);
          } else if (what === 'unsent') inflight.markUnsent();
          else if (what === 'get') expect(inflight.get(n)).toBe(model.get(n));
          else if (item === undefined) continue;
          else if (what === 'sent') inflight.markSent(item);
          else {
            model.delete(item.packetId);
            if (what === 'move') model.set(item.packetId, item);
            if (what === 'move') inflight.moveToEnd(item);
            else inflight.delete(item);
          }
          expect(inflight.size).toBe(model.size);
          const sent = [...model.values()].filter((each) => each.sent).length;
          expect([inflight.outstanding, inflight.hasUnsent]).toEqual([sent, sent < model.size]);
        }
        expect([...inflight]).toEqual([...model.values()]);
        for (const [packetId, item] of model) expect(inflight.get(packetId)).toBe(item);
      },
    ),
  );
});

test('all 65,534 ids that may be in flight at once are given, and again when they are free', () => {
  const inflight = new Inflight();
  const ids = new Set<number>();
  for (let i = 0; i < 65_534; i++) ids.add(inflight.add(entry, 1, match).packetId);
  expect([ids.size, inflight.size]).toEqual([65_534, 65_534]);
  for (const item of inflight) inflight.delete(item);
  expect([inflight.size, [...inflight]]).toEqual([0, []]);
  expect(inflight.add(entry, 1, match).packetId).toBeGreaterThan(0);
});

test('what is deleted, or was there before, is not found', () => {
  const inflight = new Inflight();
  expect(inflight.get(0)).toBeUndefined();
  const item = inflight.add(entry, 2, match);
  inflight.delete(item);
  inflight.delete(item);
  expect([inflight.get(item.packetId), inflight.size, inflight.outstanding]).toEqual([undefined, 0, 0]);
});
