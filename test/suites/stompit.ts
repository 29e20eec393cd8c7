import type stompit from 'stompit';
import { afterEach, expect, test } from 'vitest';
import { connectStomp, type Endpoint } from './interop.ts';

interface Received {
  readonly frame: stompit.Frame;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

/** stompit, the client for Node. */
export function stompitSuite(endpoint: () => Endpoint): void {
  const clients: stompit.Client[] = [];
  let unique = 0;
  const name = (): string => `stompit-${Date.now()}-${++unique}`;

  afterEach(() => {
    for (const client of clients.splice(0)) client.destroy();
  });

  async function connect(headers: Record<string, string> = {}): Promise<stompit.Client> {
    const client = await connectStomp(endpoint(), headers);
    client.on('error', () => {});
    clients.push(client);
    return client;
  }

  function send(
    client: Pick<stompit.Client, 'send'>,
    destination: string,
    body: string | Buffer,
    headers = {},
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      client.send({ destination, ...headers }, { onReceipt: resolve, onError: reject }).end(body);
    });
  }

  /** Takes the next so many messages of a subscription that lives on. */
  function subscribe(client: stompit.Client, headers: Record<string, string>) {
    const inbox: Received[] = [];
    let wake = (): void => {};
    client.subscribe(headers, (error, frame) => {
      if (error) return;
      const chunks: Buffer[] = [];
      frame.on('data', (chunk: Buffer) => chunks.push(chunk));
      frame.on('end', () => {
        inbox.push({ frame, headers: frame.headers, body: Buffer.concat(chunks) });
        wake();
      });
    });
    return async (count: number): Promise<Received[]> => {
      while (inbox.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return inbox.splice(0, count);
    };
  }

  for (const version of ['1.0', '1.1', '1.2']) {
    test(`${version}: octets, unicode and headers come back; what is not acked comes again`, async () => {
      const client = await connect({ 'accept-version': version });
      const queue = `/queue/${name()}`;
      const note = version === '1.0' ? 'Grüße' : 'a:b\nGrüße\\';
      await send(client, queue, everyByte, { note, 'content-length': '256' });
      await send(client, queue, 'Grüße 𝄞', { note });
      const take = subscribe(client, { destination: queue, ack: 'client-individual' });
      const [octets, text] = (await take(2)) as [Received, Received];
      expect([octets.body, text.body.toString()]).toEqual([everyByte, 'Grüße 𝄞']);
      expect([octets.headers['note'], text.headers['note']]).toEqual([note, note]);
      client.ack(text.frame);
      await send(client, '/topic/nobody', 'after the ack');
      client.destroy();
      const again = subscribe(await connect({ 'accept-version': version }), { destination: queue });
      const [left] = await again(1);
      expect([left?.body, left?.headers['redelivered']]).toEqual([everyByte, 'true']);
    });
  }

  test('ack:client is cumulative; NACK brings a message again', async () => {
    const client = await connect();
    const queue = `/queue/${name()}`;
    for (const body of ['1', '2', '3']) await send(client, queue, body);
    const take = subscribe(client, { destination: queue, ack: 'client' });
    const [, second, third] = (await take(3)) as [Received, Received, Received];
    client.ack(second.frame);
    client.nack(third.frame);
    const [again] = await take(1);
    expect([again?.body.toString(), again?.headers['redelivered']]).toEqual(['3', 'true']);
  });

  test('transactions: abort does nothing, commit all', async () => {
    const client = await connect();
    const queue = `/queue/${name()}`;
    const take = subscribe(client, { destination: queue });
    const aborted = client.begin();
    aborted.send({ destination: queue }).end('never');
    aborted.abort();
    const committed = client.begin();
    for (const body of ['1', '2']) committed.send({ destination: queue }).end(body);
    committed.commit();
    expect((await take(2)).map(({ body }) => body.toString())).toEqual(['1', '2']);
  });

  test('heart-beats keep a connection that says nothing', async () => {
    const client = await connect({ 'heart-beat': '1000,1000' });
    let failed: Error | null = null;
    client.on('error', (error) => {
      failed = error;
    });
    const take = subscribe(client, { destination: '/topic/quiet' });
    const other = await connect();
    // three heart-beats of the server, by which one that does not come would have been missed
    const beats = await connect({ 'heart-beat': '0,1000' });
    let count = 0;
    const { _transportSocket: socket } = beats as unknown as { _transportSocket: NodeJS.ReadableStream };
    await new Promise<void>((resolve) => {
      socket.on('data', () => {
        count += 1;
        if (count === 4) resolve();
      });
    });
    await send(other, '/topic/quiet', 'still there');
    expect((await take(1))[0]?.body.toString()).toBe('still there');
    expect(failed).toBeNull();
  });

  test('a durable subscription of ActiveMQ, a selector, and RPC over a temporary queue', async () => {
    const [topic, clientId, queue] = [`/topic/${name()}`, name(), `/queue/${name()}`];
    const durable = { destination: topic, 'activemq.subscriptionName': 's', selector: 'n > 5' };
    const first = await connect({ 'client-id': clientId });
    subscribe(first, durable);
    await send(first, '/topic/nobody', 'behind the subscription');
    await new Promise<void>((resolve) => first.disconnect(() => resolve()));
    const publisher = await connect();
    await send(publisher, topic, 'no', { n: '5' });
    await send(publisher, topic, 'yes', { n: '6' });
    const second = await connect({ 'client-id': clientId });
    expect((await subscribe(second, durable)(1))[0]?.body.toString()).toBe('yes');
    const asked = subscribe(publisher, { destination: queue });
    const answered = subscribe(second, { destination: '/temp-queue/rpc' });
    await send(second, queue, 'ask', { 'reply-to': '/temp-queue/rpc', 'correlation-id': '7' });
    const [request] = (await asked(1)) as [Received];
    await send(publisher, request.headers['reply-to']!, 'answer', { 'correlation-id': '7' });
    const [answer] = await answered(1);
    expect([answer?.body.toString(), answer?.headers['correlation-id']]).toEqual(['answer', '7']);
  });

  test('a body of four mebibytes', async () => {
    const client = await connect();
    const take = subscribe(client, { destination: '/topic/large' });
    const body = Buffer.alloc(4 * 1024 * 1024, 'x');
    await send(client, '/topic/large', body, { 'content-length': String(body.length) });
    expect((await take(1))[0]?.body).toEqual(body);
  });

  test('an ERROR is told, and ends the connection; so do wrong credentials', async () => {
    const client = await connectStomp(endpoint());
    const error = new Promise<Error>((resolve) => client.on('error', resolve));
    client.send({ destination: '/nowhere/at/all' }).end('x');
    expect((await error).message).toBe('Unknown destination');
    await expect(connect({ passcode: 'wrong' })).rejects.toThrow('Bad CONNECT');
  });
}
