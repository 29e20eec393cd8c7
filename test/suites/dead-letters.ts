import amqplib, { type Channel, type ChannelModel, type GetMessage, type Options } from 'amqplib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Endpoint } from './interop.ts';

/** Dead letters as amqplib sees them and policies of the HTTP API rule them, on whatever broker has both. */

export interface ManagedEndpoint extends Endpoint {
  readonly managementPort: number;
}

/** @param showsLast x-last-death-* are told: RabbitMQ does since 3.13 */
export function deadLettersSuite(
  endpoint: () => ManagedEndpoint,
  { showsLast }: { readonly showsLast: boolean },
): void {
  let connection: ChannelModel;
  let channel: Channel;
  let count = 0;
  let work = '';
  beforeEach(async () => {
    const { host, port, user, password } = endpoint();
    connection = await amqplib.connect({ hostname: host, port, username: user, password });
    channel = await connection.createChannel();
    work = `dl-work-${++count}`;
  });
  afterEach(async () => {
    await channel.deleteQueue(work);
    await connection.close();
  });

  /** null: the policy is deleted. Resolves when it holds for the queue. */
  async function setPolicy(definition: Record<string, unknown> | null): Promise<void> {
    const { managementPort, user, password } = endpoint();
    const base = `http://127.0.0.1:${managementPort}/api`;
    const headers = { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
    const policy = { pattern: `^${work}$`, definition, 'apply-to': 'queues' };
    const ask = {
      headers,
      ...(definition === null ? { method: 'DELETE' } : { method: 'PUT', body: JSON.stringify(policy) }),
    };
    const answer = await fetch(`${base}/policies/%2F/${work}`, ask);
    expect(answer.ok).toBe(true);
    const holds = async (): Promise<unknown> => {
      const queue = await (await fetch(`${base}/queues/%2F/${work}`, { headers })).json();
      return (queue as Record<string, unknown>)['effective_policy_definition'];
    };
    await expect.poll(holds, { timeout: 20_000 }).toEqual(definition ?? {});
  }

  async function bound(exchange: string): Promise<string> {
    await channel.assertExchange(exchange, 'fanout', { autoDelete: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, exchange, '');
    return queue;
  }

  /** The next message, which may still be on its way. */
  async function take(queue: string): Promise<GetMessage> {
    let got: GetMessage | false = false;
    await expect
      .poll(async () => (got = await channel.get(queue, { noAck: true })), { timeout: 10_000 })
      .not.toBe(false);
    return got as unknown as GetMessage;
  }

  const isEmpty = async (queue: string): Promise<boolean> => (await channel.checkQueue(queue)).messageCount === 0;

  async function reject(body: string): Promise<void> {
    let got: GetMessage | false = false;
    await expect.poll(async () => (got = await channel.get(work)), { timeout: 10_000 }).not.toBe(false);
    const message = got as unknown as GetMessage;
    expect(message.content.toString()).toBe(body);
    channel.reject(message, false);
  }

  const send = (body: string, options: Options.Publish = {}): boolean =>
    channel.sendToQueue(work, Buffer.from(body), options);

  interface Row {
    readonly [field: string]: unknown;
  }

  const rowsOf = ({ properties }: GetMessage): Row[] =>
    (properties.headers!['x-death'] as unknown as Row[]).map(({ time, ...row }) => {
      expect(time).toMatchObject({ '!': 'timestamp' });
      return row;
    });

  const endsOf = ({ properties }: GetMessage, which: 'first' | 'last'): unknown[] =>
    ['exchange', 'queue', 'reason'].map((field) => properties.headers![`x-${which}-death-${field}`]);

  test('an exchange by policy, set, changed and removed while messages wait: what holds when one dies counts', async () => {
    await channel.assertQueue(work);
    const [first, second] = [await bound(`${work}-1`), await bound(`${work}-2`)];
    for (const body of ['before', 'a', 'b', 'c']) send(body);
    await reject('before'); // nobody asked for it
    await setPolicy({ 'dead-letter-exchange': `${work}-1` });
    await reject('a');
    const a = await take(first);
    expect([a.content.toString(), a.fields.exchange, a.fields.routingKey]).toEqual(['a', `${work}-1`, work]);
    await setPolicy({ 'dead-letter-exchange': `${work}-2`, 'dead-letter-routing-key': 'changed' });
    await reject('b');
    const b = await take(second);
    expect([b.content.toString(), b.fields.routingKey]).toEqual(['b', 'changed']);
    await setPolicy(null);
    await reject('c');
    send('last');
    await reject('last');
    expect([await isEmpty(first), await isEmpty(second), await isEmpty(work)]).toEqual([true, true, true]);
  });

  test('an argument is stronger than the policy, for the exchange and the key each', async () => {
    const [own, other] = [await bound(`${work}-own`), await bound(`${work}-other`)];
    await channel.assertQueue(work, { deadLetterExchange: `${work}-own` });
    await setPolicy({ 'dead-letter-exchange': `${work}-other`, 'dead-letter-routing-key': 'by-policy' });
    send('m');
    await reject('m');
    expect((await take(own)).fields.routingKey).toBe('by-policy');
    expect(await isEmpty(other)).toBe(true);
  });

  test('a limit by policy makes dead letters of what waits, a time to live of what comes', async () => {
    await channel.assertQueue(work);
    const letters = await bound(`${work}-x`);
    for (const body of ['1', '2', '3']) send(body);
    await setPolicy({ 'dead-letter-exchange': `${work}-x`, 'max-length': 2 });
    const [one] = [await take(letters)];
    expect([one.content.toString(), endsOf(one, 'first')[2]]).toEqual(['1', 'maxlen']);
    for (const body of ['2', '3']) {
      await reject(body);
      expect((await take(letters)).content.toString()).toBe(body);
    }
    await setPolicy({ 'dead-letter-exchange': `${work}-x`, 'message-ttl': 50 });
    send('4');
    const four = await take(letters);
    expect([four.content.toString(), endsOf(four, 'first')[2]]).toEqual(['4', 'expired']);
  });

  test('counts over cycles: a row for each queue and reason, the latest first; where it began stays', async () => {
    const wait = `${work}-wait`;
    await channel.assertQueue(work, { deadLetterExchange: '', deadLetterRoutingKey: wait });
    await channel.assertQueue(wait, { messageTtl: 30, deadLetterExchange: '', deadLetterRoutingKey: work });
    send('m', { headers: { own: 1 }, messageId: 'i' });
    for (let round = 1; round <= 3; round++) await reject('m');
    const letter = await take(work);
    expect(rowsOf(letter)).toEqual([
      { count: 3, reason: 'expired', queue: wait, exchange: '', 'routing-keys': [wait] },
      { count: 3, reason: 'rejected', queue: work, exchange: '', 'routing-keys': [work] },
    ]);
    expect(endsOf(letter, 'first')).toEqual(['', work, 'rejected']);
    if (showsLast) expect(endsOf(letter, 'last')).toEqual(['', wait, 'expired']);
    expect(letter.properties.headers!['own']).toBe(1);
    expect(letter.properties.messageId).toBe('i');
    await channel.deleteQueue(wait);
  });

  test('the expiration of a message that expired is told by its death alone', async () => {
    const letters = await bound(`${work}-x`);
    await channel.assertQueue(work, { deadLetterExchange: `${work}-x` });
    send('m', { expiration: '30' });
    const letter = await take(letters);
    expect(letter.properties.expiration).toBeUndefined();
    expect(rowsOf(letter)).toEqual([
      {
        count: 1,
        reason: 'expired',
        queue: work,
        exchange: '',
        'routing-keys': [work],
        'original-expiration': '30',
      },
    ]);
  });

  test('CC goes on, BCC does not; with a key of the queue neither counts for the route', async () => {
    const letters = await bound(`${work}-x`);
    await channel.assertQueue(work, { deadLetterExchange: `${work}-x` });
    send('m', { CC: ['copy'], BCC: ['hidden'] });
    await reject('m');
    const letter = await take(letters);
    const [row] = rowsOf(letter);
    expect(row!['routing-keys']).toEqual([work, 'copy']);
    expect(letter.properties.headers!['BCC']).toBeUndefined();
  });

  test('delivery_limit of a quorum queue', async () => {
    const letters = await bound(`${work}-x`);
    await channel.assertQueue(work, {
      arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 1, 'x-dead-letter-exchange': `${work}-x` },
    });
    send('m');
    for (let i = 0; i < 2; i++) {
      let got: GetMessage | false = false;
      await expect.poll(async () => (got = await channel.get(work)), { timeout: 10_000 }).not.toBe(false);
      channel.nack(got as unknown as GetMessage, false, true);
    }
    expect(rowsOf(await take(letters))).toMatchObject([{ count: 1, reason: 'delivery_limit', queue: work }]);
  });

  const safely = {
    'x-queue-type': 'quorum',
    'x-overflow': 'reject-publish',
    'x-dead-letter-strategy': 'at-least-once',
  };

  test('at-least-once: what nobody is bound for stays, and goes when a policy brings it to somebody', async () => {
    await channel.assertQueue(work, { arguments: safely });
    await setPolicy({ 'dead-letter-exchange': `${work}-missing` });
    send('m');
    await reject('m');
    expect(await channel.get(work)).toBe(false); // it is dead, and in nobody's reach
    const letters = await bound(`${work}-x`);
    await setPolicy({ 'dead-letter-exchange': `${work}-x` });
    const letter = await take(letters);
    expect(letter.content.toString()).toBe('m');
    expect(rowsOf(letter)).toMatchObject([{ count: 1, reason: 'rejected', queue: work }]);
    expect(await isEmpty(letters)).toBe(true);
  });

  test('at-least-once: all queues that are bound get it once', async () => {
    const [one, other] = [await bound(`${work}-x`), await bound(`${work}-x`)];
    await channel.assertQueue(work, { arguments: { ...safely, 'x-dead-letter-exchange': `${work}-x` } });
    for (const body of ['1', '2', '3']) send(body);
    for (const body of ['1', '2', '3']) await reject(body);
    for (const queue of [one, other]) {
      const got = [await take(queue), await take(queue), await take(queue)];
      expect(got.map(({ content }) => content.toString())).toEqual(['1', '2', '3']);
      expect(await isEmpty(queue)).toBe(true);
    }
  });

  test('at-least-once is for quorum queues alone', async () => {
    const other = await connection.createChannel();
    other.on('error', () => {});
    const args = { 'x-dead-letter-strategy': 'at-least-once' };
    await expect(other.assertQueue(`${work}-classic`, { arguments: args })).rejects.toThrow(/406|PRECONDITION/);
    await channel.assertQueue(work);
  });
}
