import { expect, test } from 'vitest';
import { type Description, type Explanation, explain } from '../../../src/core/explain.ts';
import { conversionLosses } from '../../../src/core/losses.ts';
import type { Value } from '../../../src/core/properties.ts';
import { amqp10Script } from '../../../src/protocols/amqp10/explain.ts';
import { amqp091Script } from '../../../src/protocols/amqp091/explain.ts';
import { mqtt3Script, mqtt5Script } from '../../../src/protocols/mqtt/explain.ts';
import { stompScript } from '../../../src/protocols/stomp/explain.ts';
import { Core } from '../../support/core.ts';

const scripts = [amqp091Script, amqp10Script, mqtt5Script, mqtt3Script, stompScript];

const long: Value = { type: 'long', value: 5000n };

function headersOf(name: string, value: Value): Pick<Description, 'properties'> {
  return { properties: { headers: new Map([[name, value]]) } };
}

function ask(core: Core, script: (typeof scripts)[number], description: Partial<Description>): Explanation {
  const whole: Description = {
    destination: 'q',
    exchange: '',
    properties: { headers: new Map() },
    body: Buffer.from('x'),
    qos: 0,
    retain: false,
    ...description,
  };
  return explain(core.broker, core.client, script, whole, scripts);
}

test.each([
  ['MQTT 5', mqtt5Script, { destination: '$delayed/5/a/b' }, 5000],
  ['MQTT 3.1.1', mqtt3Script, { destination: '$delayed/5/a/b' }, 5000],
  ['STOMP', stompScript, { destination: '/topic/a.b', ...headersOf('AMQ_SCHEDULED_DELAY', '5000') }, 5000],
  ['STOMP', stompScript, { destination: '/topic/a.b', ...headersOf('n', '5000') }, null],
  [
    'AMQP 1.0',
    amqp10Script,
    { destination: '/exchanges/amq.topic/a.b', ...headersOf('x-opt-delivery-delay', long) },
    5000,
  ],
  ['AMQP 0-9-1', amqp091Script, { exchange: 'later', destination: 'a.b', ...headersOf('x-delay', long) }, 5000],
  ['AMQP 0-9-1', amqp091Script, { exchange: 'amq.topic', destination: 'a.b', ...headersOf('x-delay', long) }, null],
])('%s: a message for later is held, and then routed so: %#', (_, script, description, delayMs) => {
  const core = new Core();
  core.vhost.declareExchange(core.client, {
    name: 'later',
    type: 'x-delayed-message',
    durable: false,
    autoDelete: false,
    internal: false,
    arguments: new Map([['x-delayed-type', 'topic']]),
  });
  const queue = core.declare('q');
  for (const exchange of ['amq.topic', 'later']) core.vhost.bind(core.client, exchange, queue, 'a.b', new Map());
  const { timing, targets, routingKeys, received } = ask(core, script, description);
  expect(timing).toEqual(delayMs === null ? null : { dueMs: core.clock.nowMs + delayMs, repeat: null });
  expect([routingKeys, targets.map((target) => target.queue.name)]).toEqual([['a.b'], ['q']]);
  expect(core.vhost.exchanges.get('amq.topic')?.schedule ?? null).toBeNull();
  const shown = JSON.stringify(received.map(({ shown: all }) => all.map(({ name }) => name)));
  expect(shown).not.toContain('AMQ_SCHEDULED');
});

test.each(['$delayed/x/a', '$delayed/5', '$delayed/5/$SYS/a'])('%s is no topic to publish to', (destination) => {
  expect(() => ask(new Core(), mqtt5Script, { destination })).toThrow(/is no topic to publish to/);
});

test('a question publishes nothing, counts nothing and makes no reply alias', () => {
  const core = new Core();
  const queue = core.declare('q');
  const replyTo = { exchange: '', key: 'answers', text: 'answers', protocol: '' };
  const { targets } = ask(core, amqp091Script, { properties: { replyTo, headers: new Map() } });
  expect(targets.map((target) => target.queue)).toEqual([queue]);
  expect(queue.counts.ready).toBe(0);
  expect(core.vhost.publishedIn).toBe(0);
  expect(core.vhost.isReplyAlias('rosetta.reply.…')).toBe(false);
});

test('the time to live is what remains, in each protocol its own way', () => {
  const core = new Core();
  core.declare('q');
  const { received } = ask(core, mqtt5Script, {
    destination: '$queue-of/q',
    properties: { ttlMs: 60_000, headers: new Map() },
  });
  const values = received.map(({ shown }) => shown.find(({ name }) => /expir|ttl/.test(name))?.value);
  expect(values).toEqual(['60000', { type: 'uint', value: 60_000 }, '60', undefined, '60000']);
  expect(received.map(({ lost }) => lost)).toEqual([[], [], [], ['ttlMs'], []]);
});

test('what a protocol has no place for is in companions, and lost where there are no headers', () => {
  const core = new Core();
  core.declare('q');
  const headers = new Map([['id', { type: 'uuid', value: Buffer.alloc(16, 1) } as const]]);
  const { received } = ask(core, amqp10Script, { destination: '/queues/q', properties: { subject: 's', headers } });
  expect(received.map(({ companions }) => [...companions].sort())).toEqual([
    ['x-rosetta-types', 'x-subject'],
    [],
    ['x-rosetta-types', 'x-subject'],
    [],
    ['x-rosetta-types', 'x-subject'],
  ]);
  expect(received.map(({ lost }) => lost)).toEqual([[], [], [], ['subject', "header 'id'"], []]);
});

test('what a question loses is told to whoever asked, and not counted', () => {
  const core = new Core();
  core.declare('q');
  const before = [...conversionLosses.all()].map(({ count }) => count);
  const properties = { type: 'x'.repeat(5000), headers: new Map() };
  const { received } = ask(core, stompScript, { destination: '/queue/q', properties });
  expect(received[0]?.lost).toContain('type');
  expect([...conversionLosses.all()].map(({ count }) => count)).toEqual(before);
});
