import { describe, expect, test } from 'vitest';
import { register } from '../../../../src/core/format.ts';
import { Message, noDeaths } from '../../../../src/core/message.ts';
import type { Properties, Value } from '../../../../src/core/properties.ts';
import { compileSqlFilter } from '../../../../src/protocols/amqp10/sql-filter.ts';

const nowMs = 1_700_000_000_000;
const long = (value: bigint): Value => ({ type: 'long', value });

const shown: Properties = {
  messageId: Buffer.from('0123456789abcdef', 'hex'),
  userId: 'Bob',
  subject: 'order.created',
  contentEncoding: 'zstd',
  timestampMs: nowMs - 1000,
  groupSequence: 9,
  headers: new Map<string, Value>([
    ['color', 'red'],
    ['quote', "It's great"],
    ['order-status', 'pending'],
    ['weight', long(2500n)],
    ['price', { type: 'double', value: 9.5 }],
    ['ok', true],
    ['emoji', '😎'],
    ['underscored', '_foo'],
  ]),
};
const format = register({ name: 'filtered', id: 253, decode: () => shown, encode: () => Buffer.alloc(0) });
const range = { start: 0, end: 0, nativeStart: 0, nativeEnd: 0, bodyStart: 0, bodyEnd: 0 };
const facts = { exchange: '', routingKey: '', durable: true, expiresAtMs: nowMs + 5, qos: -1, retain: false };
const given = { publisher: null, deaths: noDeaths, bytes: Buffer.alloc(0) };
const message = new Message({ ...facts, ...range, ...given, format, priority: -1 });

const passes = (text: string): boolean => compileSqlFilter(text, () => nowMs)(message);

describe('[RabbitMQ: stream filtering, SQL filter expressions]', () => {
  test.each([
    ["color = 'red' AND a.color = 'red' AND application_properties.color = \"red\"", true],
    ["color <> 'red'", false],
    ["color != 'blue'", true],
    ["quote = 'It''s great'", true],
    ["[order-status] = 'pending' AND a.[order-status] LIKE 'pend%'", true],
    ["emoji = '😎' AND emoji LIKE '_'", true],
    ["p.subject = 'order.created' AND properties.subject LIKE 'order.%'", true],
    ["p.user_id = 0x426F62 AND p.user_id = 'Bob'", true],
    ['properties.message_id = 0x0123456789ABCDEF', true],
    ["p.content_encoding IN ('gzip', 'zstd', 'deflate')", true],
    ["p.content_encoding NOT IN ('gzip')", true],
    ['weight IN (1, 2500.0)', true],
    ['p.correlation_id IS NULL AND p.subject IS NOT NULL', true],
    ['p.absolute_expiry_time > UTC() AND p.creation_time > UTC() - 3600000', true],
    ['p.group_sequence % 3 = 0', true],
    ['price % 2 = 0', false],
    ['header.priority = 4 AND h.priority < 5', true],
    ['weight / 1000 = 2.5', true],
    ['weight / 0 = 1', false],
    ['price * 2 = 19 AND -price < +1.0E1', true],
    ['ok AND ok = TRUE AND NOT (ok = FALSE)', true],
    ["underscored LIKE '\\_%' ESCAPE '\\'", true],
    ["color LIKE '\\_%' ESCAPE '\\'", false],
    ["color > 'blue' AND color < 'white'", true],
    ["weight > 'London'", false],
    ["weight <> 'London'", true],
    ['absent = 1 OR absent <> 1 OR NOT absent', false],
  ])('%s: %s', (text, expected) => {
    expect(passes(text)).toBe(expected);
  });

  test.each([
    'n >',
    "color = 'red' and ok",
    'weight BETWEEN 1 AND 3',
    'header.durable = TRUE',
    'm.x = 1',
    'p.colour = 1',
    "LOWER(color) = 'red'",
    '',
    `${'ok OR '.repeat(120)}ok`,
    `color = '${'x'.repeat(5000)}'`,
  ])('refused: %s', (text) => {
    expect(() => compileSqlFilter(text, () => nowMs)).toThrow(/^SQL filter/);
  });
});
