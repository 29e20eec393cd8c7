import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyWord, anyWords } from '../../../../src/core/topic.ts';
import { exactSpelling, isFilter, spellingOf } from '../../../../src/protocols/mqtt/topic.ts';

const { toRoutingKey, toTopic, toPattern } = exactSpelling;

describe('topics and routing keys', () => {
  test.each([
    ['sensors/hall/temperature', 'sensors.hall.temperature'],
    ['sensors/hall.1/temp', 'sensors.hall/1.temp'],
    ['/', '.'],
    ['a%2Bb', 'a+b'],
    ['a%252Bb', 'a%2Bb'],
    ['a%25252Bb', 'a%252Bb'],
    ['100%', '100%'],
    ['a/*', 'a.*'],
    ['\u{1f480}/x', '\u{1f480}.x'], // whose low surrogate looks like an octet that is no UTF-8
  ])('%j is %j, and back', (topic, key) => {
    expect(toRoutingKey(topic)).toBe(key);
    expect(toTopic(key)).toBe(topic);
  });

  const piece = fc.constantFrom('a', '/', '.', '%', '25', '2B', '23', '00', '+', '#', '\0', '*', 'é', 'C3', '\udcc3');
  test('every routing key comes back from its topic, which MQTT allows', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const key = pieces.join('');
        expect(toTopic(key)).not.toMatch(/[+#\0]/);
        expect(toRoutingKey(toTopic(key))).toBe(key);
      }),
      { numRuns: 2000 },
    );
  });

  test('every topic comes back from its routing key', () => {
    const allowed = piece.filter((each) => !/[+#\0\udc80-\udcff]/.test(each));
    fc.assert(
      fc.property(fc.array(allowed, { maxLength: 12 }), (pieces) => {
        const topic = pieces.join('');
        expect(toTopic(toRoutingKey(topic))).toBe(topic);
      }),
      { numRuns: 2000 },
    );
  });

  test('wildcards of a filter are tokens, and a literal * stays a literal', () => {
    expect(toPattern('a/+/*/b.c/#')).toEqual(['a', anyWord, '*', 'b/c', anyWords]);
  });

  test.each([
    ['#', true],
    ['a/#', true],
    ['a/#/b', false],
    ['a#', false],
    ['+', true],
    ['a/+/b', true],
    ['a+', false],
    ['', false],
    ['a\0', false],
  ])('[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] filter %j: %s', (filter, valid) => {
    expect(isFilter(filter)).toBe(valid);
  });
});

describe('in RabbitMQ’s mapping', () => {
  const spelling = spellingOf('rabbitmq');

  test.each([
    ['cities/london', 'cities.london', 'cities/london'],
    ['sensors/hall.1/temp', 'sensors.hall.1.temp', 'sensors/hall/1/temp'],
    ['a%2Bb', 'a%2Bb', 'a%2Bb'],
    ['a/*', 'a.*', 'a/*'],
    ['/a/', '.a.', '/a/'],
  ])('%j is %j, and that is %j', (topic, key, back) => {
    expect(spelling.toRoutingKey(topic)).toBe(key);
    expect(spelling.toTopic(key)).toBe(back);
  });

  test('a slash in a key is a separator of the topic, and what MQTT forbids is coded', () => {
    expect(spelling.toTopic('a/b.c+#')).toBe('a/b/c%2B%23');
  });

  test('filters: a dot separates, and a level * is a wildcard as it is in a binding key', () => {
    expect(spelling.toPattern('+/a.b/+/#')).toEqual([anyWord, 'a', 'b', anyWord, anyWords]);
    expect(spelling.toPattern('+/+/+')).toEqual([anyWord, anyWord, anyWord]);
    expect(spelling.toPattern('a/*')).toEqual(['a', anyWord]);
  });
});
