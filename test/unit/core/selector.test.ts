import { describe, expect, test } from 'vitest';
import { register } from '../../../src/core/format.ts';
import { Message, noDeaths } from '../../../src/core/message.ts';
import type { Properties, Value } from '../../../src/core/properties.ts';
import { compileSelector } from '../../../src/core/selector.ts';

let shown: Properties = { headers: new Map() };
const format = register({ name: 'selected', id: 254, decode: () => shown, encode: () => Buffer.alloc(0) });

function messageOf(
  headers: Record<string, Value>,
  properties: Omit<Properties, 'headers'> = {},
  priority = -1,
): Message {
  shown = { ...properties, headers: new Map(Object.entries(headers)) };
  const bytes = Buffer.alloc(0);
  const range = { start: 0, end: 0, nativeStart: 0, nativeEnd: 0, bodyStart: 0, bodyEnd: 0 };
  const facts = { exchange: '', routingKey: '', durable: true, expiresAtMs: 0, qos: -1, retain: false };
  const message = new Message({ ...facts, ...range, format, priority, publisher: null, deaths: noDeaths, bytes });
  expect(message.properties).toBe(shown);
  return message;
}

const long = (value: bigint): Value => ({ type: 'long', value });

const message = messageOf(
  {
    color: 'red',
    name: "O'Neil",
    weight: long(2500n),
    price: { type: 'double', value: 9.5 },
    ok: true,
    rate: '5 %_',
    'my-header': 'x',
    blob: Buffer.from('b'),
  },
  { type: 'order', correlationId: 'c-1', contentType: 'text/plain' },
  7,
);

describe('[JMS 2.0 §3.8.1] a selector that is true selects; one that is false or unknown does not', () => {
  for (const [selector, expected] of [
    ["color = 'red'", true],
    ["color <> 'red'", false],
    ["color = 'RED'", false],
    ["name = 'O''Neil'", true],
    ['weight > 2499 AND weight <= 2500', true],
    ['weight = 2500.0', true],
    ['weight / 1000 = 2', true],
    ['weight / 1000.0 = 2.5', true],
    ['weight / 0 = 1', false],
    ['-weight + 0x10 = -2484', true],
    ['price * 2 = 19', true],
    ['price < 1E1', true],
    ['2 + 3 * 4 = 14 and (2 + 3) * 4 = 20', true],
    ['weight BETWEEN 2500 AND 2500', true],
    ['weight NOT BETWEEN 1 AND 10', true],
    ["color IN ('blue', 'red')", true],
    ["color NOT IN ('blue', 'red')", false],
    ["absent IN ('blue')", false],
    ["absent NOT IN ('blue')", false],
    ["color LIKE 'r_d'", true],
    ["color LIKE 'r%'", true],
    ["color LIKE '%e%d%'", true],
    ["color NOT LIKE 'r_'", true],
    ["rate LIKE '5 \\%\\_' ESCAPE '\\'", true],
    ["color LIKE 'r\\_d' ESCAPE '\\'", false],
    ['absent IS NULL', true],
    ['absent IS NOT NULL', false],
    ['blob IS NOT NULL', true],
    ["blob = 'b'", false],
    ['absent = 1', false],
    ['NOT (absent = 1)', false],
    ['absent = 1 OR ok', true],
    ['absent = 1 AND NOT ok', false],
    ['NOT (absent = 1 AND NOT ok)', true],
    ['ok = TRUE', true],
    ['ok = false', false],
    ["color > 'blue'", false],
    ["weight = '2500'", false],
    ["weight <> '2500'", true],
    ["JMSType = 'order' AND JMSPriority = 7 AND JMSDeliveryMode = 'PERSISTENT'", true],
    ["JMSCorrelationID LIKE 'c-%'", true],
    ['"my-header" = \'x\' AND "content-type" = \'text/plain\'', true],
    ['TRUE', true],
    ['weight', false],
  ] as const) {
    test(`${selector} → ${expected}`, () => {
      expect(compileSelector(selector)(message)).toBe(expected);
    });
  }
});

describe('where headers are all text, text is compared by what it reads as', () => {
  const text = messageOf({ age: '42', ratio: '0.5', flag: 'true', word: 'old' });
  for (const [selector, expected] of [
    ['age > 41', true],
    ['age = 42.0', true],
    ['age + 1 = 43', true],
    ['age BETWEEN 40 AND 42', true],
    ['ratio < 1', true],
    ['flag = TRUE', true],
    ['word > 1', false],
    ['word = 1', false],
    ["age = '42'", true],
  ] as const) {
    test(`${selector} → ${expected}`, () => {
      expect(compileSelector(selector, { textIsTyped: true })(text)).toBe(expected);
    });
  }

  test('and without that it is text', () => {
    expect(compileSelector('age > 41')(text)).toBe(false);
  });
});

test('a pattern of many % takes no more than its length times that of the text', () => {
  const selects = compileSelector(`color LIKE '${'%r'.repeat(2000)}x'`);
  expect(selects(messageOf({ color: 'r'.repeat(20_000) }))).toBe(false);
});

describe('what is no selector is refused, saying where', () => {
  for (const [selector, why] of [
    ['', 'a value is expected at 1, not the end'],
    ['color =', 'a value is expected at 8'],
    ["color = 'red", "' at 9 is not understood"],
    ['color = = 1', "a value is expected at 9, not '='"],
    ['a IN (1)', 'a string is expected at 7'],
    ["a LIKE 'x' ESCAPE 'ab'", 'more than one character'],
    ['a NOT 5', 'BETWEEN, IN or LIKE is expected at 7'],
    ['a b', "the end is expected at 3, not 'b'"],
    [`${'('.repeat(101)}a${')'.repeat(101)}`, 'nested more than 100 deep'],
    [`${'NOT '.repeat(101)}a`, 'nested more than 100 deep'],
  ] as const) {
    test(selector.slice(0, 40), () => {
      expect(() => compileSelector(selector)).toThrow(why);
    });
  }
});
