import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { isTyped, type Value } from '../../src/core/properties.ts';
import { decodeMethod } from '../../src/protocols/amqp091/methods.ts';
import { readPropertyList } from '../../src/protocols/amqp091/properties.ts';
import { FrameType, findMethod, methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { int } from '../support/core.ts';
import type { Endpoint } from './interop.ts';

/**
 * Short sessions of AMQP 0-9-1, all of it sent at once, and what RabbitMQ answered, frame by frame, in
 * `transcripts.json`. A channel.close behind the last method ends the session in its turn, whatever came before.
 */
export function transcriptsSuite(endpoint: () => Endpoint): void {
  const peers: AmqpPeer[] = [];
  let played = 0;
  afterEach(() => {
    for (const peer of peers.splice(0)) peer.destroy();
  });
  test.each(sessions)('%s', async (title, plays) => {
    const peer = await AmqpPeer.openChannel(endpoint().port);
    peers.push(peer);
    // Some titles come to the same name, and RabbitMQ takes its time to delete what was exclusive to another connection.
    const name = `transcript-${title.replace(/\W+/g, '-')}`;
    const ownName = `${name}.${played++}`;
    plays(new Player(peer, ownName));
    peer.send(1, methods.channelClose, { replyCode: 200 });
    const answers = await answersOf(peer);
    expect(answers.map((line) => line.replaceAll(ownName, name))).toEqual(recorded[title]);
  });
}

const path = join(import.meta.dirname, 'transcripts.json');
const recorded = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string[]>;

async function answersOf(peer: AmqpPeer): Promise<string[]> {
  const lines: string[] = [];
  for (;;) {
    const { type, payload } = await peer.next();
    if (type === FrameType.header) {
      lines.push(`  ${propertiesOf(payload.subarray(12))}`);
      continue;
    }
    if (type === FrameType.body) {
      lines.push(`  ${payload.length > 40 ? `${payload.length} octets` : payload.toString('latin1')}`);
      continue;
    }
    const method = findMethod(payload.readUInt32BE(0))!;
    const args = decodeMethod(method, payload);
    const fields = method.fields.map(([name, kind]) =>
      kind === 'bit'
        ? args.bit(name)
        : kind === 'longlong'
          ? args.bigint(name)
          : kind === 'shortstr'
            ? args.text(name)
            : args.number(name),
    );
    lines.push(
      [method.name, ...fields]
        .join(' ')
        .replace(/amq\.gen-[\w-]+/g, 'amq.gen-*')
        .trimEnd(),
    );
    if (['channel.close-ok', 'channel.close', 'connection.close'].includes(method.name)) return lines;
  }
}

function propertiesOf(native: Buffer): string {
  const given = Object.entries(readPropertyList(native)).filter(([, value]) => value !== undefined);
  return given.map(([name, value]) => `${name}: ${value instanceof Map ? show(value) : value}`).join(', ');
}

function show(value: Value): string {
  if (value instanceof Map) return `{${[...value].map(([name, each]) => `${name}: ${show(each)}`).join(', ')}}`;
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (value === null || !isTyped(value)) return Buffer.isBuffer(value) ? value.toString('hex') : JSON.stringify(value);
  return `${value.type} ${Buffer.isBuffer(value.value) ? value.value.toString('hex') : value.value}`;
}

/** Sends; its queue and its exchange have names of their own. */
class Player {
  readonly name: string;
  private readonly peer: AmqpPeer;

  constructor(peer: AmqpPeer, name: string) {
    this.peer = peer;
    this.name = name;
  }

  declare(args: Record<string, Value> = {}, values: object = {}): this {
    const declared = { queue: this.name, exclusive: true, arguments: new Map(Object.entries(args)), ...values };
    this.peer.send(1, methods.queueDeclare, declared);
    return this;
  }

  exchange(type: string, args: Record<string, Value> = {}, values: object = {}): this {
    const declared = {
      exchange: this.name,
      type,
      autoDelete: true,
      arguments: new Map(Object.entries(args)),
      ...values,
    };
    this.peer.send(1, methods.exchangeDeclare, declared);
    return this;
  }

  bind(exchange = this.name, routingKey = '', args: Record<string, Value> = {}): this {
    const values = { queue: this.name, exchange, routingKey, arguments: new Map(Object.entries(args)) };
    this.peer.send(1, methods.queueBind, values);
    return this;
  }

  publish(routingKey = this.name, values: object = {}, body = 'm', native?: Buffer): this {
    this.peer.publish(1, { exchange: '', routingKey, ...values }, body, native);
    return this;
  }

  get(noAck = true): this {
    this.peer.send(1, methods.basicGet, { queue: this.name, noAck });
    return this;
  }

  send(name: string, values: Record<string, unknown> = {}): this {
    const method = Object.values(methods).find((each) => each.name === name);
    if (method === undefined) throw new Error(`no method ${name}`);
    this.peer.send(1, method, values);
    return this;
  }
}

type Session = readonly [title: string, plays: (player: Player) => void];

const long = (value: bigint): Value => ({ type: 'long', value });
const double = (value: number): Value => ({ type: 'double', value });

/** Arguments of a queue, and values that are taken or refused. */
const argumentsOfQueues: Readonly<Record<string, readonly Value[]>> = {
  'x-message-ttl': [int(0), int(-1), int(100), 'abc', true, double(1.5), null],
  'x-expires': [int(0), int(-1), int(100_000), 'abc'],
  'x-max-length': [int(0), int(-1), int(10), 'abc', double(1.5)],
  'x-max-length-bytes': [int(0), int(-1), 'abc'],
  'x-max-priority': [int(0), int(-1), int(5), int(256), 'abc'],
  'x-overflow': ['drop-head', 'reject-publish', 'foo', int(1)],
  'x-dead-letter-exchange': ['', 'nowhere', int(1)],
  'x-dead-letter-routing-key': ['k'],
  'x-single-active-consumer': [true, 'true'],
  'x-queue-mode': ['lazy', 'foo', int(1)],
  'x-queue-type': ['classic', 'foo', int(1)],
  'x-unknown': ['anything'],
};

const redeclared: readonly (readonly [string, Record<string, Value>, Record<string, Value>])[] = [
  ['another ttl', { 'x-message-ttl': int(5) }, { 'x-message-ttl': int(6) }],
  ['no ttl any longer', { 'x-message-ttl': int(5) }, {}],
  ['a ttl now', {}, { 'x-message-ttl': int(5) }],
  ['a ttl as wide as another', { 'x-message-ttl': int(5) }, { 'x-message-ttl': long(5n) }],
  ['another dead letter exchange', { 'x-dead-letter-exchange': 'a' }, { 'x-dead-letter-exchange': 'b' }],
  ['another length', { 'x-max-length': int(1) }, { 'x-max-length': int(2) }],
  ['another overflow', { 'x-overflow': 'drop-head' }, { 'x-overflow': 'reject-publish' }],
  ['two differences', { 'x-message-ttl': int(5), 'x-max-length': int(3) }, { 'x-message-ttl': int(6) }],
  ['what is not known', { 'x-unknown': 'a' }, { 'x-unknown': 'b' }],
  ['the type that it has', {}, { 'x-queue-type': 'classic' }],
];

const topics: readonly (readonly [pattern: string, key: string])[] = [
  ['#', ''],
  ['*', ''],
  ['a.*', 'a.'],
  ['a.*', 'a'],
  ['a.#', 'a'],
  ['#.a', 'b.a'],
  ['a.#.b', 'a.b'],
  ['*.*', '.'],
  ['a.*.b', 'a..b'],
  ['*.#.*', 'a'],
  ['#.#.#', 'a.b.c'],
  ['a#', 'a#'],
];

const expirations = ['0', '100000', '-1', 'abc', '', '1.5', ' 5', '+5', '007'];
const withExpiration = (text: string): Buffer =>
  Buffer.from(`\x01\x00${String.fromCharCode(text.length)}${text}`, 'latin1');

const sessions: readonly Session[] = [
  ...Object.entries(argumentsOfQueues).flatMap(([name, values]) =>
    values.map((value): Session => [`${name} of ${show(value)}`, (player) => player.declare({ [name]: value })]),
  ),
  ...redeclared.map(
    ([title, before, after]): Session => [
      `declared again: ${title}`,
      (player) => player.declare(before).declare(after),
    ],
  ),
  ...topics.map(
    ([pattern, key]): Session => [
      `topic ${JSON.stringify(pattern)}, key ${JSON.stringify(key)}`,
      (player) =>
        player.exchange('topic').declare().bind(player.name, pattern).publish(key, { exchange: player.name }).get(),
    ],
  ),
  ...expirations.map(
    (text): Session => [
      `expiration ${JSON.stringify(text)}`,
      (player) => player.declare().publish(player.name, {}, 'm', withExpiration(text)).send('basic.qos'),
    ],
  ),
  ['an exchange that is not there', (player) => player.publish('k', { exchange: 'nowhere' })],
  [
    'an internal exchange',
    (player) => player.exchange('direct', {}, { internal: true }).publish('k', { exchange: player.name }),
  ],
  [
    'an exchange of a reserved name',
    (player) => player.send('exchange.declare', { exchange: 'amq.own', type: 'direct' }),
  ],
  ['an exchange declared as another type', (player) => player.exchange('direct').exchange('fanout')],
  ['the default exchange, deleted', (player) => player.send('exchange.delete', { exchange: '' })],
  ['an exchange of the broker’s, deleted', (player) => player.send('exchange.delete', { exchange: 'amq.direct' })],
  ['an exchange that is not there, deleted', (player) => player.send('exchange.delete', { exchange: 'nowhere' })],
  ['exchanges, both not there, bound', (player) => player.send('exchange.bind', { source: 'n1', destination: 'n2' })],
  [
    'exchanges, both not there, unbound',
    (player) => player.send('exchange.unbind', { source: 'n1', destination: 'n2' }),
  ],
  ['a queue of a reserved name', (player) => player.send('queue.declare', { queue: 'amq.own' })],
  [
    'a queue that is not there, looked for',
    (player) => player.send('queue.declare', { queue: 'nowhere', passive: true }),
  ],
  ['a queue that is not there, purged', (player) => player.send('queue.purge', { queue: 'nowhere' })],
  ['a queue that is not there, deleted', (player) => player.send('queue.delete', { queue: 'nowhere', ifUnused: true })],
  [
    'a queue that is not empty, deleted',
    (player) => player.declare().publish().send('queue.delete', { queue: player.name, ifEmpty: true }),
  ],
  ['the queue declared last', (player) => player.declare().publish().send('queue.purge').send('queue.delete')],
  ['no queue declared last', (player) => player.send('queue.purge')],
  [
    'line ends in a name',
    (player) =>
      player.declare({}, { queue: 'transcript\r\nline' }).declare({}, { queue: 'transcriptline', passive: true }),
  ],
  [
    'a server-named queue, and the empty name',
    (player) => player.declare({}, { queue: '' }).declare({}, { queue: '', passive: true }),
  ],
  ['bound to the default exchange', (player) => player.declare().bind('', 'k')],
  ['bound to nowhere', (player) => player.declare().bind('nowhere', 'k')],
  ['bound with an unknown x-match', (player) => player.declare().bind('amq.headers', '', { 'x-match': 'foo' })],
  [
    'bound with an x-match that is a number',
    (player) => player.declare().bind('amq.headers', '', { 'x-match': int(1) }),
  ],
  [
    'unbound what is not bound',
    (player) => player.declare().send('queue.unbind', { queue: player.name, exchange: 'amq.direct' }),
  ],
  ['counts of get', (player) => player.declare().publish().publish().publish().get().get(false).get(false).get()],
  [
    'acked twice',
    (player) =>
      player.declare().publish().get(false).send('basic.ack', { deliveryTag: 1 }).send('basic.ack', { deliveryTag: 1 }),
  ],
  ['acked, all of nothing', (player) => player.send('basic.ack', { deliveryTag: 0, multiple: true }).send('basic.qos')],
  [
    'acked above the last',
    (player) => player.declare().publish().get(false).send('basic.ack', { deliveryTag: 9, multiple: true }),
  ],
  ['rejected what is not there', (player) => player.send('basic.reject', { deliveryTag: 5 })],
  ['prefetch by size', (player) => player.send('basic.qos', { prefetchSize: 100 })],
  ['recover without requeue', (player) => player.send('basic.recover', { requeue: false })],
  ['immediate', (player) => player.publish('k', { immediate: true })],
  ['a consumer of nothing', (player) => player.send('basic.consume', { queue: 'nowhere' })],
  [
    'a consumer with a priority that is text',
    (player) =>
      player.declare().send('basic.consume', { queue: player.name, arguments: new Map([['x-priority', 'high']]) }),
  ],
  ['a consumer that was never there, cancelled', (player) => player.send('basic.cancel', { consumerTag: 'none' })],
  ['confirms, then a transaction', (player) => player.send('confirm.select').send('tx.select')],
  ['a transaction, then confirms', (player) => player.send('tx.select').send('confirm.select')],
  ['commit without a transaction', (player) => player.send('tx.commit')],
  [
    'published, rolled back, committed',
    (player) => player.declare().send('tx.select').publish().send('tx.rollback').send('tx.commit').get(),
  ],
  ['published to nowhere in a transaction', (player) => player.send('tx.select').publish('k', { exchange: 'nowhere' })],
  ['direct reply-to with acks', (player) => player.send('basic.consume', { queue: 'amq.rabbitmq.reply-to' })],
  ['direct reply-to, declared', (player) => player.send('queue.declare', { queue: 'amq.rabbitmq.reply-to' })],
  [
    'direct reply-to of a stranger',
    (player) => player.send('queue.declare', { queue: 'amq.rabbitmq.reply-to.none', passive: true }),
  ],
  ['flow, off', (player) => player.send('channel.flow', { active: false })],
  ['a method that servers send', (player) => player.send('queue.declare-ok')],
];
