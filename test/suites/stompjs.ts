import { Client, type IFrame, type IMessage, Versions } from '@stomp/stompjs';
import { afterEach, describe, expect, test } from 'vitest';
import { TcpWebSocket } from '../support/tcp-web-socket.ts';

export interface StompPorts {
  readonly tcp: number;
  readonly webSocket: number;
}

const everyByte = new Uint8Array(Array.from({ length: 256 }, (_, i) => i));

/** @stomp/stompjs, the usual client in browsers: over WebSocket, and over TCP behind an adapter. */
export function stompjsSuite(ports: () => StompPorts): void {
  const clients: Client[] = [];
  let unique = 0;
  const name = (): string => `stompjs-${Date.now()}-${++unique}`;

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.deactivate({ force: true })));
  });

  function create(transport: string, version = '1.2', headers: Record<string, string> = {}): Client {
    const client = new Client({
      connectHeaders: { login: 'guest', passcode: 'guest', ...headers },
      stompVersions: new Versions([version]),
      reconnectDelay: 0,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
    });
    if (transport === 'TCP') client.webSocketFactory = () => new TcpWebSocket(ports().tcp);
    else client.brokerURL = `ws://127.0.0.1:${ports().webSocket}/ws`;
    clients.push(client);
    return client;
  }

  async function connect(transport: string, version?: string, headers?: Record<string, string>): Promise<Client> {
    const client = create(transport, version, headers);
    await new Promise<void>((resolve, reject) => {
      client.onConnect = () => resolve();
      client.onStompError = (frame) => reject(new Error(frame.body));
      client.activate();
    });
    return client;
  }

  /** Collects what comes; `take` resolves with the next so many. */
  async function subscribe(client: Client, destination: string, headers: Record<string, string> = {}) {
    const inbox: IMessage[] = [];
    let wake = (): void => {};
    const receipt = name();
    const done = receiptOf(client, receipt);
    const subscription = client.subscribe(
      destination,
      (message) => {
        inbox.push(message);
        wake();
      },
      { ...headers, receipt },
    );
    await done;
    return {
      unsubscribe: (more?: Record<string, string>) => subscription.unsubscribe(more),
      async take(count: number): Promise<IMessage[]> {
        while (inbox.length < count) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        return inbox.splice(0, count);
      },
    };
  }

  function receiptOf(client: Client, receipt: string): Promise<IFrame> {
    return new Promise((resolve) => client.watchForReceipt(receipt, resolve));
  }

  async function publish(client: Client, destination: string, body: string | Uint8Array, headers = {}): Promise<void> {
    const receipt = name();
    const done = receiptOf(client, receipt);
    const content = typeof body === 'string' ? { body } : { binaryBody: body };
    client.publish({ destination, headers: { ...headers, receipt }, ...content });
    await done;
  }

  for (const transport of ['TCP', 'WebSocket']) {
    describe(transport, () => {
      for (const version of ['1.0', '1.1', '1.2']) {
        test(`${version}: octets, unicode and headers come back; acked one by one`, async () => {
          const client = await connect(transport, version);
          expect(client.connectedVersion).toBe(version);
          const queue = `/queue/${name()}`;
          const inbox = await subscribe(client, queue, { ack: 'client-individual', id: 'mine' });
          // it escapes in 1.2 alone, though 1.1 has escapes too
          const note = version === '1.2' ? 'a:b\nGrüße\\𝄞' : 'Grüße 𝄞';
          await publish(client, queue, everyByte, { note, 'content-type': 'application/octet-stream' });
          await publish(client, queue, 'Grüße 𝄞', { note });
          const [octets, text] = (await inbox.take(2)) as [IMessage, IMessage];
          expect([octets.binaryBody, text.body]).toEqual([everyByte, 'Grüße 𝄞']);
          expect([octets.headers['note'], text.headers['note']]).toEqual([note, note]);
          text.ack();
          await publish(client, '/topic/nobody', 'after the ack');
          await client.deactivate();
          const other = await connect(transport, version);
          const again = await subscribe(other, queue);
          const [left] = await again.take(1);
          expect([left?.binaryBody, left?.headers['redelivered']]).toEqual([everyByte, 'true']);
        });
      }

      test('heart-beats keep a connection that says nothing', async () => {
        const client = create(transport);
        client.heartbeatIncoming = 1000;
        client.heartbeatOutgoing = 1000;
        let beats = 0;
        const beaten = new Promise<void>((resolve) => {
          client.debug = (line) => {
            if (line === '<<< PONG' && ++beats === 2) resolve();
          };
        });
        client.activate();
        await beaten;
        expect(client.connected).toBe(true);
      });

      test('a body of a mebibyte', async () => {
        const client = await connect(transport);
        const inbox = await subscribe(client, '/topic/large');
        await publish(client, '/topic/large', 'x'.repeat(1024 * 1024));
        expect((await inbox.take(1))[0]?.body).toHaveLength(1024 * 1024);
      });

      test('transactions: abort does nothing, commit all', async () => {
        const client = await connect(transport);
        const queue = `/queue/${name()}`;
        const inbox = await subscribe(client, queue);
        const aborted = client.begin();
        client.publish({ destination: queue, body: 'never', headers: { transaction: aborted.id } });
        aborted.abort();
        const committed = client.begin();
        for (const body of ['1', '2']) {
          client.publish({ destination: queue, body, headers: { transaction: committed.id } });
        }
        committed.commit();
        expect((await inbox.take(2)).map(({ body }) => body)).toEqual(['1', '2']);
      });

      test('a durable subscription over a reconnect, and its end', async () => {
        const [topic, id] = [`/topic/${name()}`, name()];
        const durable = { id, durable: 'true', 'auto-delete': 'false' };
        const first = await connect(transport);
        await subscribe(first, topic, durable);
        await first.deactivate();
        const second = await connect(transport);
        await publish(second, topic, 'missed');
        const inbox = await subscribe(second, topic, durable);
        expect((await inbox.take(1))[0]?.body).toBe('missed');
        const gone = receiptOf(second, 'gone');
        inbox.unsubscribe({ ...durable, receipt: 'gone' });
        await gone;
        await publish(second, topic, 'for nobody');
        const again = await subscribe(second, topic, durable);
        await publish(second, topic, 'new');
        expect((await again.take(1))[0]?.body).toBe('new');
      });

      test('RPC over a temporary queue, which is subscribed to implicitly', async () => {
        const [asker, responder] = [await connect(transport), await connect(transport)];
        const queue = `/queue/${name()}`;
        const asked = await subscribe(responder, queue);
        const answered = new Promise<IMessage>((resolve) => {
          asker.onUnhandledMessage = resolve;
        });
        await publish(asker, queue, 'ask', { 'reply-to': '/temp-queue/rpc', 'correlation-id': '7' });
        const [request] = (await asked.take(1)) as [IMessage];
        await publish(responder, request.headers['reply-to']!, 'answer', {
          'correlation-id': request.headers['correlation-id'],
        });
        const { body, headers } = await answered;
        expect([body, headers['correlation-id'], headers['subscription']]).toEqual(['answer', '7', '/temp-queue/rpc']);
      });

      test('a selector, and NACK to the dead letters', async () => {
        const client = await connect(transport);
        const [queue, dead] = [`/queue/${name()}`, name()];
        const letters = await subscribe(client, `/queue/${dead}`);
        const inbox = await subscribe(client, queue, {
          ack: 'client-individual',
          selector: "color = 'red'",
          'x-dead-letter-exchange': '',
          'x-dead-letter-routing-key': dead,
        });
        await publish(client, queue, 'no', { color: 'blue' });
        await publish(client, queue, 'yes', { color: 'red' });
        const [message] = (await inbox.take(1)) as [IMessage];
        expect(message.body).toBe('yes');
        message.nack({ requeue: 'false' });
        expect((await letters.take(1))[0]?.headers['x-first-death-reason']).toBe('rejected');
      });

      test('an ERROR is told, and ends the connection; so do wrong credentials', async () => {
        const client = await connect(transport);
        const error = new Promise<IFrame>((resolve) => {
          client.onStompError = resolve;
        });
        const closed = new Promise<void>((resolve) => {
          client.onWebSocketClose = () => resolve();
        });
        client.publish({ destination: '/nowhere/at/all', headers: { receipt: 'r' } });
        expect((await error).headers).toMatchObject({ message: 'Unknown destination', 'receipt-id': 'r' });
        await closed;
        await expect(connect(transport, '1.2', { passcode: 'wrong' })).rejects.toThrow(
          "Access refused for user 'guest'",
        );
      });
    });
  }
}
