import { expect, test } from 'vitest';
import type { MessageFormat } from '../../../src/core/format.ts';
import type { Message, MessageFacts } from '../../../src/core/message.ts';
import { createFlying } from '../../support/messages.ts';

function createFormat(id: number): MessageFormat & { encoded: number } {
  return {
    name: `test-${id}`,
    id,
    encoded: 0,
    decode: (native) => ({ headers: new Map(), contentType: native.toString() }),
    encode(properties, message) {
      this.encoded += 1;
      const { routingKey, exchange, durable, retain, priority, qos } = message;
      return Buffer.from(
        [properties.contentType, exchange, routingKey, durable, retain, priority, qos, message.deaths.length].join('|'),
      );
    },
  };
}

const source = createFormat(201);

const createMessage = (native: string, facts: Partial<MessageFacts> = {}): Message =>
  createFlying(source, Buffer.from(native), facts);

test('messages that say the same beside the body are translated once', () => {
  const target = createFormat(210);
  const first = createMessage('text/plain').as(target);
  expect(createMessage('text/plain').as(target)).toBe(first);
  expect(target.encoded).toBe(1);
});

test('whatever differs is translated anew', () => {
  const target = createFormat(211);
  const death = { queue: 'q', reason: 'expired', count: 1, exchange: '', routingKeys: [], timeMs: 0 } as const;
  const variants: [string, Partial<MessageFacts>][] = [
    ['a', {}],
    ['b', {}],
    ['aa', {}],
    ['', {}],
    ['a', { exchange: 'other' }],
    ['a', { routingKey: 'l' }],
    ['a', { durable: true }],
    ['a', { retain: true }],
    ['a', { priority: 4 }],
    ['a', { qos: 1 }],
    ['a', { deaths: [death] }],
    ['a', { format: createFormat(202) }],
  ];
  for (let round = 0; round < 2; round++) {
    for (const [native, facts] of variants) {
      const message = createMessage(native, facts);
      expect(message.as(target).toString()).toBe(target.encode(message.properties, message).toString());
    }
  }
});

test('what expires, has died or is long is translated each for itself', () => {
  const target = createFormat(212);
  for (let i = 0; i < 2; i++) {
    createMessage('a', { expiresAtMs: 5000 }).as(target);
    createMessage('n'.repeat(257)).as(target);
  }
  expect(target.encoded).toBe(4);
});

test('a message is translated once a language, in however many it is read', () => {
  const targets = [createFormat(213), createFormat(214), createFormat(215)];
  const message = createMessage('a', { expiresAtMs: 5000 });
  for (let round = 0; round < 3; round++) for (const target of targets) message.as(target);
  expect(targets.map((target) => target.encoded)).toEqual([1, 1, 1]);
});

test('a memo does not hold on to the chunk that a message was read from', () => {
  const target = createFormat(216);
  const message = createMessage('seen');
  const translation = message.as(target).toString();
  message.bytes.fill(0x2e);
  expect(createMessage('seen').as(target).toString()).toBe(translation);
  expect(createMessage('....').as(target).toString()).not.toBe(translation);
});
