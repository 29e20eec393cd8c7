import { afterAll, beforeAll, expect, test } from 'vitest';
import { longFrom } from '../../src/transport/stream.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import type { Name } from '../support/messages.ts';
import { octetPeers } from '../support/octet-peers.ts';
import { Random } from '../support/random.ts';

/**
 * Long bodies leave from where they lie, in the buffer that was read into or in that of a message that rests, and through
 * one write with what is in front of them: every consumer sees the same octets, in order, whatever their lengths.
 */
const frameMax = 131_072;
const lengths = [
  longFrom - 1,
  longFrom,
  longFrom + 1,
  10,
  65_536,
  frameMax - 8,
  frameMax - 7,
  0,
  frameMax + longFrom,
  200_000,
  1_048_576,
  300,
];

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

afterAll(() => broker?.remove());

/** A property list that says nothing. */
const noProperties: Record<Name, Buffer> = {
  '091': Buffer.alloc(2),
  '1.0': Buffer.alloc(0),
  M5: Buffer.alloc(0),
  ST: Buffer.alloc(0),
};

/** The publishers here send a message as one frame. */
const longestOf: Record<Name, number> = {
  '091': frameMax - 8,
  '1.0': frameMax - 100,
  M5: Number.POSITIVE_INFINITY,
  ST: Number.POSITIVE_INFINITY,
};

const names = Object.keys(octetPeers) as Name[];

test.each(names)('published in %s they are the same to consumers of every protocol', async (name) => {
  const random = new Random(7);
  const sent = lengths.filter((length) => length <= longestOf[name]);
  const bodies = sent.map((length) => Buffer.from(Array.from({ length }, () => random.below(256))));
  const [publisher, ...consumers] = await Promise.all(
    [name, ...names, ...names].map((each) => octetPeers[each](broker)),
  );
  try {
    const topic = `long.${name}`;
    for (const consumer of consumers) await consumer.listen(topic);
    for (const body of bodies) await publisher!.publish(topic, { native: noProperties[name], body });
    for (const body of bodies) {
      for (const consumer of consumers) expect((await consumer.next()).body.equals(body)).toBe(true);
    }
  } finally {
    for (const peer of [publisher, ...consumers]) peer?.close();
  }
});
