import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../../src/protocols/amqp091/table.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import { type AmqpPeer, noProperties } from '../../support/amqp-peer.ts';
import { int } from '../../support/core.ts';

/** Where dead letters go and what is told of them [RabbitMQ: dead letter exchanges]. */

let core: AmqpCore;
let peer: AmqpPeer;
beforeEach(async () => {
  core = new AmqpCore();
  peer = await core.openChannel();
});
afterEach(() => peer.destroy());

const table = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const withHeaders = (headers: Record<string, Value>) => encodeProperties({ headers: table(headers) }, null as never);

async function exchange(name: string, type: string, args: Record<string, Value> = {}): Promise<void> {
  const declared = { exchange: name, type, arguments: table(args) };
  await peer.call(1, methods.exchangeDeclare, declared, methods.exchangeDeclareOk);
}

async function queue(name: string, args: Record<string, Value> = {}, bound?: [exchange: string, key: string]) {
  await peer.declare(name, { arguments: table(args) });
  if (bound === undefined) return;
  const binding = { queue: name, exchange: bound[0], routingKey: bound[1] };
  await peer.call(1, methods.queueBind, binding, methods.queueBindOk);
}

async function reject(name: string): Promise<void> {
  const got = (await peer.get(name, false))!;
  peer.send(1, methods.basicReject, { deliveryTag: got.args.bigint('deliveryTag'), requeue: false });
}

async function take(name: string): Promise<{ exchange: string; key: string; headers: Map<string, Value> } | null> {
  const got = await peer.get(name);
  if (got === null) return null;
  const headers = decodeTable(got.native, 2) as Map<string, Value>;
  return { exchange: got.args.text('exchange'), key: got.args.text('routingKey'), headers };
}

function rowsOf(headers: Map<string, Value>): Map<string, Value>[] {
  return headers.get('x-death') as Map<string, Value>[];
}

test('without a key of the queue all keys route again, CC and BCC too; the row has CC and not BCC', async () => {
  await exchange('dlx', 'direct');
  await queue('q', { 'x-dead-letter-exchange': 'dlx' });
  for (const key of ['q', 'cc', 'bcc']) await queue(`dead-${key}`, {}, ['dlx', key]);
  peer.publish(1, { routingKey: 'q' }, 'm', withHeaders({ CC: ['cc'], BCC: ['bcc'] }));
  await reject('q');
  for (const key of ['q', 'cc', 'bcc']) {
    const { headers, ...address } = (await take(`dead-${key}`))!;
    expect(address).toEqual({ exchange: 'dlx', key: 'q' });
    expect(rowsOf(headers)[0]?.get('routing-keys')).toEqual(['q', 'cc']);
    expect([headers.get('CC'), headers.has('BCC')]).toEqual([['cc'], false]);
  }
});

test('with a key of the queue that alone routes, and the CC header is still shown, as since RabbitMQ 3.13', async () => {
  await exchange('dlx', 'direct');
  await queue('q', { 'x-dead-letter-exchange': 'dlx', 'x-dead-letter-routing-key': 'k' });
  await queue('dead', {}, ['dlx', 'k']);
  await queue('dead-cc', {}, ['dlx', 'cc']);
  peer.publish(1, { routingKey: 'q' }, 'm', withHeaders({ CC: ['cc'] }));
  await reject('q');
  const { headers, ...address } = (await take('dead'))!;
  expect(address).toEqual({ exchange: 'dlx', key: 'k' });
  expect(headers.get('CC')).toEqual(['cc']);
  expect(await take('dead-cc')).toBeNull();
});

test('what no queue is bound for goes to the alternate exchange of the dead-letter exchange', async () => {
  await exchange('spare', 'fanout');
  await exchange('dlx', 'direct', { 'alternate-exchange': 'spare' });
  await queue('q', { 'x-dead-letter-exchange': 'dlx' });
  await queue('rest', {}, ['spare', '']);
  peer.publish(1, { routingKey: 'q' }, 'm');
  await reject('q');
  expect(await take('rest')).toMatchObject({ exchange: 'dlx', key: 'q' });
});

test('an exchange that comes later than the queue takes what dies from then on', async () => {
  await queue('q', { 'x-dead-letter-exchange': 'dlx' });
  for (const body of ['1', '2']) peer.publish(1, { routingKey: 'q' }, body);
  await reject('q');
  expect((await peer.get('q', false))?.body.toString()).toBe('2');
  await exchange('dlx', 'fanout');
  await queue('dead', {}, ['dlx', '']);
  peer.send(1, methods.basicNack, { deliveryTag: 2n, requeue: false });
  expect((await peer.get('dead'))?.body.toString()).toBe('2');
});

test('headers exchanges route by x-first-death-* where their binding looks at x- headers', async () => {
  await exchange('dlx', 'headers');
  await queue('q', { 'x-dead-letter-exchange': 'dlx' });
  for (const reason of ['rejected', 'expired']) {
    await queue(reason);
    const args = table({ 'x-match': 'any-with-x', 'x-first-death-reason': reason });
    const binding = { queue: reason, exchange: 'dlx', routingKey: '', arguments: args };
    await peer.call(1, methods.queueBind, binding, methods.queueBindOk);
  }
  peer.publish(1, { routingKey: 'q' }, 'm');
  await reject('q');
  expect(await take('expired')).toBeNull();
  expect(await take('rejected')).not.toBeNull();
});

test('what a publisher wrote under the names of deaths is not believed, and gone once the message has died', async () => {
  await queue('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead', 'x-max-length': int(0) });
  await queue('dead');
  const forged = { 'x-death': 'forged', 'x-first-death-queue': 'forged', 'x-last-death-reason': 'forged', own: 'x' };
  peer.publish(1, { routingKey: 'q' }, 'm', withHeaders(forged));
  const { headers } = (await take('dead'))!;
  expect(JSON.stringify([...headers.values()].filter((value) => value === 'forged'))).toBe('[]');
  expect([headers.get('own'), headers.get('x-first-death-queue')]).toEqual(['x', 'q']);
});

test('maxlen: the oldest die first, in their order', async () => {
  await queue('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead', 'x-max-length': int(1) });
  await queue('dead');
  for (const body of ['1', '2', '3', '4']) peer.publish(1, { routingKey: 'q' }, body, noProperties);
  const bodies: string[] = [];
  for (let got = await peer.get('dead'); got !== null; got = await peer.get('dead')) bodies.push(got.body.toString());
  expect(bodies).toEqual(['1', '2', '3']);
});
