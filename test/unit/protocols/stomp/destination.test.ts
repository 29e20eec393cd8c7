import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Destination,
  type Dialect,
  findAddress,
  parseDestination,
  showDestination,
} from '../../../../src/protocols/stomp/destination.ts';

const queue = (name: string, declared = true): Destination => ({ kind: 'queue', name, declared });
const exchange = (name: string, key: string): Destination => ({ kind: 'exchange', exchange: name, key });
const topic = (key: string): Destination => exchange('amq.topic', key);
const virtual = (name: string, virtualTopic: string): Destination => ({
  kind: 'queue',
  name,
  declared: true,
  virtualTopic,
});

describe('what a destination means', () => {
  test.each<[text: string, dialects: readonly Dialect[], meant: Destination[], shows: boolean]>([
    ['/queue/a', ['auto', 'rabbitmq'], [queue('a')], false],
    ['/queue/a.b*c', ['auto', 'rabbitmq'], [queue('a.b*c')], false],
    ['/queue/a%2Fb%25', ['auto', 'rabbitmq'], [queue('a/b%')], false],
    ['/queue/100%', ['auto', 'rabbitmq'], [queue('100%')], false],
    ['/queue/a%2Fb', ['activemq'], [queue('a%2Fb')], true],
    ['/queue/a/b', ['auto', 'activemq'], [queue('a/b')], true],
    ['a', ['auto', 'rabbitmq', 'activemq'], [queue('a')], false],
    ['/amq/queue/a', ['auto', 'rabbitmq', 'activemq'], [queue('a', false)], false],
    ['/reply-queue/a/b', ['auto', 'rabbitmq', 'activemq'], [queue('a/b', false)], false],
    ['/topic/a.*.#', ['auto', 'rabbitmq'], [topic('a.*.#')], false],
    ['/topic/a%2Fb', ['auto', 'rabbitmq'], [topic('a/b')], false],
    ['/topic/a.>', ['rabbitmq'], [topic('a.>')], false],
    ['/topic/a.>', ['auto', 'activemq'], [topic('a.#')], true],
    ['/topic/>', ['auto', 'activemq'], [topic('#')], true],
    ['/topic/a>', ['auto'], [topic('a>')], false],
    ['/exchange/x', ['auto', 'rabbitmq'], [exchange('x', '')], false],
    ['/exchange/x/k.%2F', ['auto', 'rabbitmq'], [exchange('x', 'k./')], false],
    ['/temp-queue/foo', ['auto', 'rabbitmq', 'activemq'], [{ kind: 'temp-queue', name: 'foo' }], false],
    ['/temp-topic/foo', ['auto', 'rabbitmq', 'activemq'], [{ kind: 'temp-topic', name: 'foo' }], true],
    ['/queue/a,/topic/b', ['auto', 'activemq'], [queue('a'), topic('b')], true],
    ['/queue/a,/topic/b', ['rabbitmq'], [], false],
    ['/queue/a,b', ['auto', 'rabbitmq'], [queue('a,b')], false],
    ['/queue/a,b,/topic/c,d', ['activemq'], [queue('a'), queue('b'), topic('c'), topic('d')], true],
    [
      '/queue/Consumer.A.VirtualTopic.O',
      ['auto', 'activemq'],
      [virtual('Consumer.A.VirtualTopic.O', 'VirtualTopic.O')],
      true,
    ],
    [
      '/queue/Consumer.A.VirtualTopic.>',
      ['auto', 'activemq'],
      [virtual('Consumer.A.VirtualTopic.>', 'VirtualTopic.#')],
      true,
    ],
    ['/queue/Consumer.A.VirtualTopic.O', ['rabbitmq'], [queue('Consumer.A.VirtualTopic.O')], false],
  ])('%s to %j', (text, dialects, meant, shows) => {
    for (const dialect of dialects) {
      if (meant.length === 0) expect(() => parseDestination(text, dialect)).toThrow('Invalid destination');
      else expect(parseDestination(text, dialect).destinations).toEqual(meant);
      if (dialect === 'auto') expect(parseDestination(text, dialect).isActivemq).toBe(shows);
    }
  });

  test.each<[text: string, message: string, detail: string]>([
    ['', 'Invalid destination', 'Destination cannot be blank'],
    ['/queue', 'Invalid destination', "'' is not a valid queue destination\n"],
    ['/queue/', 'Invalid destination', "'' is not a valid queue destination\n"],
    ['/queue/bah/baz', 'Invalid destination', "'/bah/baz' is not a valid queue destination\n"],
    ['/topic/bah/baz', 'Invalid destination', "'/bah/baz' is not a valid topic destination\n"],
    ['/exchange', 'Invalid destination', "'' is not a valid exchange destination\n"],
    ['/exchange/bah/baz/boo', 'Invalid destination', "'/bah/baz/boo' is not a valid exchange destination\n"],
    ['/exchange//foo', 'Invalid destination', "'//foo' is not a valid exchange destination\n"],
    ['/amq/queue/a/b', 'Unknown destination', ''],
    ['/reply-queue/', 'Unknown destination', ''],
    ['/temp-queue/', 'Unknown destination', ''],
    ['/something/interesting', 'Unknown destination', ''],
  ])('[RabbitMQ] %s is an error in its words', (text, message, detail) => {
    expect(() => parseDestination(text, 'rabbitmq')).toThrow(
      expect.objectContaining({
        message,
        detail: detail === '' ? expect.stringContaining(`'${text}' is not a valid destination`) : detail,
      }),
    );
  });
});

test('what is shown leads back to where it came from', () => {
  const name = fc.string({
    unit: fc.constantFrom('a', '.', '/', '%', '2', 'F', 'é', ' ', ',', '\0', '\n', '\r'),
    minLength: 1,
  });
  fc.assert(
    fc.property(name, fc.constantFrom('', 'amq.topic', 'my/own%'), (key, from) => {
      expect(findAddress(showDestination(from, key, 'rabbitmq'))).toEqual({ exchange: from, key });
    }),
  );
});

test('destinations are shown as RabbitMQ shows them; to ActiveMQ without codes', () => {
  expect(showDestination('', 'a/b%', 'rabbitmq')).toBe('/queue/a%2Fb%25');
  expect(showDestination('amq.topic', 'a.b', 'auto')).toBe('/topic/a.b');
  expect(showDestination('amq.fanout', '', 'auto')).toBe('/exchange/amq.fanout');
  expect(showDestination('x', 'k', 'auto')).toBe('/exchange/x/k');
  expect(showDestination('', 'a\0b\n\r', 'rabbitmq')).toBe('/queue/a%00b%0A%0D');
  expect(showDestination('', 'a/b%', 'activemq')).toBe('/queue/a/b%');
});
