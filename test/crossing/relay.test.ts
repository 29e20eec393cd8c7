import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Properties } from '../../src/core/properties.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { createMessage, formats, type Name, published } from '../support/messages.ts';
import { type OctetPeer, octetPeers } from '../support/octet-peers.ts';

/**
 * The round trip through sockets: published in P; a consumer in Q publishes it again octet for octet as it got it; the
 * consumer in P sees what it sees of the original.
 */
const pairs = (Object.keys(formats) as Name[]).flatMap((p) =>
  (Object.keys(formats) as Name[]).filter((q) => q !== p).map((q) => [p, q] as const),
);
let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

afterAll(async () => {
  await broker?.remove();
});

/** The octets that a publisher of the format sends. */
function nativeOf(said: Properties, name: Name): Buffer {
  // of another protocol, so that all of it is encoded
  const message = createMessage(formats[name === 'ST' ? 'M5' : 'ST'], Buffer.alloc(0));
  return formats[name].encode(said, message);
}

/** What a broker is asked to do something about, or checks, is no part of the law; neither is what a shape stands for. */
function withoutOrders({ userId: _, ...said }: Properties): Properties {
  const orders = ['x-mqtt-retain', 'x-opt-mqtt-retain', 'x-rosetta-residue', 'x-reply-to-topic'];
  return { ...said, headers: new Map([...said.headers].filter(([name]) => !orders.includes(name))) };
}

/** Reply addresses in the words of each protocol. */
const replies: Record<Name, string> = {
  '091': 'answers',
  '1.0': '/queues/answers',
  M5: 'a/nswers',
  ST: '/queue/answers',
};

describe('published again by a consumer of another protocol, it comes back as it was', () => {
  test.each(pairs)(
    '%s → %s → back',
    async (p, q) => {
      const [direct, relay, back] = await Promise.all([p, q, p].map((name) => octetPeers[name](broker)));
      const there = `there.${p}.${q}`.replaceAll('1.0', '10');
      const again = `again.${p}.${q}`.replaceAll('1.0', '10');
      await direct!.listen(there);
      await relay!.listen(there);
      await back!.listen(again);
      const numRuns = Math.ceil(Number(process.env['ROUND_TRIPS'] ?? 500) / 20);
      await fc.assert(
        fc.asyncProperty(published[p], fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (said, octets, asks) => {
          const replyTo = { exchange: '', key: replies[p], text: replies[p], protocol: protocolOf[p] };
          const native = nativeOf({ ...withoutOrders(said), ...(asks ? { replyTo } : {}) }, p);
          const body = Buffer.from(octets);
          await direct!.publish(there, { native, body });
          const seen = await direct!.next();
          const between = await relay!.next();
          expect([seen.body, between.body]).toEqual([body, body]);
          await relay!.publish(again, between);
          const got = await back!.next();
          expect(got.body).toEqual(body);
          expect(back!.read(got.native)).toEqual(direct!.read(seen.native));
        }),
        { numRuns, endOnFailure: true }, // what is under way then would meet the next attempts
      );
      for (const peer of [direct, relay, back]) (peer as OctetPeer).close();
    },
    600_000,
  );
});

const protocolOf: Record<Name, string> = { '091': 'amqp-0-9-1', '1.0': 'amqp-1.0', M5: 'mqtt', ST: 'stomp' };
