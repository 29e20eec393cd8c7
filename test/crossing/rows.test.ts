import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { MessageFormat } from '../../src/core/format.ts';
import { Message, noDeaths } from '../../src/core/message.ts';
import type { Properties } from '../../src/core/properties.ts';
import { amqp10Format } from '../../src/protocols/amqp10/message.ts';
import { amqp091Format } from '../../src/protocols/amqp091/message.ts';
import { mqtt3Format, mqtt5Format } from '../../src/protocols/mqtt/message.ts';
import { formats as stompFormats } from '../../src/protocols/stomp/message.ts';

/** Each row of the mapping's table of fields, from each protocol to each other one. */
const formats = {
  '091': amqp091Format,
  '1.0': amqp10Format,
  M5: mqtt5Format,
  M3: mqtt3Format,
  ST: stompFormats.none['1.2'],
};
type Name = keyof typeof formats;

const body = Buffer.from('body');
const reply = { exchange: '', key: 'answers', text: 'answers', protocol: 'amqp-0-9-1' };

/** What says a row, in the shared vocabulary; the body is in every message. */
const samples: Record<string, Partial<Properties>> = {
  body: {},
  'content type': { contentType: 'application/json' },
  'content encoding': { contentEncoding: 'gzip' },
  'text or bytes': { textPayload: true },
  correlation: { correlationId: Buffer.from([0, 255]) },
  'message id': { messageId: 'm-1' },
  'reply address': { replyTo: reply },
  priority: { priority: 7 },
  durable: { durable: true },
  'time to live': { ttlMs: 60_000 },
  timestamp: { timestampMs: 1_700_000_000_123 },
  'user id': { userId: 'guest' },
  'application id': { appId: 'shop' },
  type: { type: 'order' },
  'subject, to, groups': { subject: 'news', to: 'there', groupId: 'g', groupSequence: 5, replyToGroupId: 'r' },
  headers: { headers: new Map([['note', 'é']]) },
};

function rowsOfTable(): string[] {
  const text = readFileSync(new URL('../../docs/protocol-mapping.md', import.meta.url), 'utf8');
  const table = text.split('## Fields')[1]!.split('\n\n')[1]!;
  return table
    .split('\n')
    .slice(2)
    .map((line) => line.split('|')[1]!.trim());
}

function messageOf(format: MessageFormat, native: Buffer, { durable = false, ttlMs }: Partial<Properties>): Message {
  const bytes = Buffer.concat([native, body]);
  return new Message({
    format,
    exchange: 'amq.topic',
    routingKey: 'k',
    durable,
    priority: -1,
    expiresAtMs: ttlMs === undefined || format === mqtt3Format ? 0 : 1,
    qos: durable ? 1 : 0,
    retain: false,
    publisher: null,
    deaths: noDeaths,
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
}

test('every row of the table is tested, and every test has its row', () => {
  expect(rowsOfTable()).toEqual(Object.keys(samples));
});

const pairs = (Object.keys(formats) as Name[]).flatMap((from) =>
  (Object.keys(formats) as Name[]).filter((to) => to !== from).map((to) => [from, to] as const),
);

describe.each(Object.entries(samples))('%s', (row, sample) => {
  test.each(pairs)('%s → %s', (from, to) => {
    const said: Properties = { headers: new Map(), ...sample };
    const blank = messageOf(amqp091Format, Buffer.alloc(0), sample);
    const published = messageOf(formats[from], formats[from].encode(said, blank), sample);
    const arrived = messageOf(formats[to], published.as(formats[to]), sample);
    expect(arrived.body).toEqual(body);
    if (from === 'M3' || to === 'M3') {
      // a topic, a body and the QoS
      expect({ ...arrived.properties, durable: undefined }).toEqual({ headers: new Map(), durable: undefined });
      return;
    }
    if (row === 'reply address') expect(arrived.properties.replyTo?.key).toContain('answers');
    else if (row === 'time to live') expect(arrived.properties.ttlMs).toBe(to === 'M5' || from === 'M5' ? 0 : 60_000);
    else expect(arrived.properties).toMatchObject(sample);
  });
});
