import { expect, test } from 'vitest';
import { type Description, type Explanation, explain } from '../../../src/core/explain.ts';
import { conversionLosses } from '../../../src/core/losses.ts';
import { amqp10Script } from '../../../src/protocols/amqp10/explain.ts';
import { amqp091Script } from '../../../src/protocols/amqp091/explain.ts';
import { mqtt3Script, mqtt5Script } from '../../../src/protocols/mqtt/explain.ts';
import { stompScript } from '../../../src/protocols/stomp/explain.ts';
import { Core } from '../../support/core.ts';

const scripts = [amqp091Script, amqp10Script, mqtt5Script, mqtt3Script, stompScript];

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
