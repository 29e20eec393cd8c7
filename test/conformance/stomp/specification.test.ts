import { describe, expect, test } from 'vitest';
import { type RigPeer, StompRig } from '../../support/stomp-rig.ts';

/** What the specifications demand of a server and no other file here shows, by their headings. */

const connect = 'CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0';

describe('frames', () => {
  test('[STOMP 1.2 §STOMP Frames-2] commands and names of headers are told apart by case', async () => {
    const peer = await new StompRig().login();
    peer.send('SEND\nDestination:/queue/a\n\nx\0');
    expect((await peer.error()).headers['message']).toBe('Missing destination');
    const other = await new StompRig().login();
    await other.subscribe('0', '/queue/a', 'ACK:client\nAck:client\n');
    other.send('SEND\ndestination:/queue/a\nFoo:1\nfoo:2\n\nx\0');
    const { headers } = await other.next();
    expect([headers['Foo'], headers['foo'], 'ack' in headers]).toEqual(['1', '2', false]);
  });

  test('[STOMP 1.2 §Value Encoding-1] a user whose name has a backslash logs in as such; CONNECTED is not escaped', async () => {
    const peer = new StompRig().open();
    peer.send('CONNECT\naccept-version:1.2\nhost:a\\tb:c\nlogin:guest\npasscode:guest\nclient-id:a\\nb\\t\n\n\0');
    const { command, lines } = await peer.next();
    expect(command).toBe('CONNECTED');
    expect(lines.join('\n')).not.toContain('\\');
  });

  test('[STOMP 1.2 §Body-1][STOMP 1.0 §RECEIPT-1] CONNECTED and RECEIPT have no body; a body of SUBSCRIBE is ignored [STOMP 1.0 §SUBSCRIBE-3]', async () => {
    for (const version of ['x:', 'accept-version:1.1', 'accept-version:1.2']) {
      const peer = new StompRig().open();
      peer.send(`CONNECT\n${version}\nhost:/\nlogin:guest\npasscode:guest\n\n\0`);
      peer.send('SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:r\n\nignored\0');
      const frames = await peer.frames();
      expect(frames.map(({ command, body }) => [command, body.toString()])).toEqual([
        ['CONNECTED', ''],
        ['RECEIPT', ''],
      ]);
    }
  });

  test('[STOMP 1.2 §Header content-type-2] UTF-8 comes and goes unharmed, in headers, destinations and bodies', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('ключ', '/queue/очередь-✓');
    peer.send('SEND\ndestination:/queue/очередь-✓\nключ:знач😀\ncontent-type:text/plain\n\nтело😀\0');
    const { headers, body } = await peer.next();
    expect(headers).toMatchObject({ subscription: 'ключ', destination: '/queue/очередь-✓', ключ: 'знач😀' });
    expect(body.toString()).toBe('тело😀');
  });
});

describe('receipts', () => {
  /** Every frame that may ask for one, in an order in which all of them are right. */
  const frames = (ack: string): string[] => [
    'SEND\ndestination:/queue/a\nreceipt:send\n\nx\0',
    'BEGIN\ntransaction:t\nreceipt:begin\n\n\0',
    `ACK\nid:${ack}\nmessage-id:${ack}\nsubscription:0\ntransaction:t\nreceipt:ack\n\n\0`,
    'COMMIT\ntransaction:t\nreceipt:commit\n\n\0',
    'BEGIN\ntransaction:u\nreceipt:begin again\n\n\0',
    'ABORT\ntransaction:u\nreceipt:abort\n\n\0',
    'UNSUBSCRIBE\nid:0\nreceipt:unsubscribe\n\n\0',
    'DISCONNECT\nreceipt:disconnect\n\n\0',
  ];

  test.each(['x:', 'accept-version:1.1', 'accept-version:1.2'])(
    '[STOMP 1.2 §Header receipt-1][STOMP 1.0 §RECEIPT-1] every frame that asks for one gets it, in their order: %s',
    async (version) => {
      const rig = new StompRig();
      const peer = await rig.login(version);
      await (await rig.login()).publish('/queue/a', 'first');
      peer.send('SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\nreceipt:subscribe\n\n\0');
      const [subscribed, message] = await peer.frames();
      expect(subscribed?.headers['receipt-id']).toBe('subscribe');
      peer.send(frames(message?.headers['ack'] ?? message?.headers['message-id'] ?? '').join(''));
      const answers = (await peer.frames()).filter(({ command }) => command !== 'MESSAGE');
      expect(answers.map(({ command, headers }) => `${command} ${headers['receipt-id']}`)).toEqual(
        ['send', 'begin', 'ack', 'commit', 'begin again', 'abort', 'unsubscribe', 'disconnect'].map(
          (each) => `RECEIPT ${each}`,
        ),
      );
    },
  );

  test('CONNECT gets none', async () => {
    const peer = new StompRig().open();
    peer.send(connect.replace('\n\n\0', '\nreceipt:r\n\n\0'));
    expect((await peer.frames()).map(({ command }) => command)).toEqual(['CONNECTED']);
  });

  test('[STOMP 1.2 §RECEIPT-3] what came before the connection ended is done', async () => {
    const rig = new StompRig();
    const peer = await rig.login();
    peer.send('SEND\ndestination:/queue/a\n\n1\0SEND\ndestination:/queue/a\n\n2\0SEND\ndestination:/queue/a\n\ncut');
    peer.stream.destroy();
    expect(rig.core.vhost.queues.get('a')?.counts.ready).toBe(2);
  });

  test('[STOMP 1.2 §Connection Lingering-1] a thousand clients that come, send and go at once', async () => {
    const rig = new StompRig();
    for (let i = 0; i < 1000; i++) {
      const peer = rig.open();
      peer.send(`${connect}SEND\ndestination:/queue/a\n\n${i}\0DISCONNECT\n\n\0`);
      if (i % 100 === 99) await peer.closed().catch(() => {});
    }
    await rig.open().settle();
    expect(rig.core.vhost.queues.get('a')?.counts.ready).toBe(1000);
    expect([rig.core.broker.clients.size, rig.door.connections.size, rig.door.handshakes.size]).toEqual([0, 0, 1]);
  });
});

describe('[STOMP 1.0]', () => {
  const login = (rig: StompRig): Promise<RigPeer> => rig.login('x:');

  test('[STOMP 1.0 §CONNECT-1][STOMP 1.0 §CONNECT-2] CONNECT as the specification writes it, and CONNECTED with a session', async () => {
    const peer = new StompRig().open();
    peer.send('CONNECT\nlogin: guest\npasscode:guest\n\n\0');
    const { command, headers } = await peer.next();
    expect([command, headers['version']]).toEqual(['CONNECTED', '1.0']);
    expect(headers['session']).toMatch(/^session-/);
  });

  test('[STOMP 1.0 §CONNECT-2] nothing is escaped, and a space in front of a value is no part of it', async () => {
    const peer = await login(new StompRig());
    await peer.confirm('SUBSCRIBE\ndestination: /queue/a\nack: auto\n\n\0');
    peer.send('SEND\ndestination: /queue/a\nfoo: a\\nb:c\n\nx\0');
    expect((await peer.next()).headers['foo']?.trim()).toBe('a\\nb:c');
  });

  test('[STOMP 1.0 §SEND-1] destination is required; content-length counts the body, without it NUL ends it', async () => {
    const peer = await login(new StompRig());
    await peer.confirm('SUBSCRIBE\ndestination:/queue/a\n\n\0');
    peer.send('SEND\ndestination:/queue/a\ncontent-length:3\n\na\0b\0SEND\ndestination:/queue/a\n\nab\0');
    expect((await peer.frames()).map(({ body }) => body.toString())).toEqual(['a\0b', 'ab']);
    peer.send('SEND\n\nx\0');
    expect((await peer.error()).headers['message']).toBe('Missing destination'); // [STOMP 1.0 §ERROR]
  });

  test('[STOMP 1.0 §SUBSCRIBE-1][STOMP 1.0 §ACK-1] client: a message is consumed when it is acknowledged; auto: at once', async () => {
    const rig = new StompRig();
    const first = await login(rig);
    await first.confirm('SUBSCRIBE\ndestination:/queue/a\nack:client\n\n\0');
    first.send('SEND\ndestination:/queue/a\n\n1\0SEND\ndestination:/queue/a\n\n2\0');
    const [message] = await first.frames();
    await first.confirm(`ACK\nmessage-id:${message?.headers['message-id']}\n\n\0`);
    await first.confirm('DISCONNECT\n\n\0');
    const second = await login(rig);
    await second.confirm('SUBSCRIBE\ndestination:/queue/a\n\n\0');
    expect((await second.frames()).map(({ body }) => body.toString())).toEqual(['2']);
    await second.confirm('DISCONNECT\n\n\0');
    expect(rig.core.vhost.queues.get('a')?.counts.ready).toBe(0);
  });

  test('[STOMP 1.0 §BEGIN-1] SEND and ACK with its name wait for COMMIT, or are undone by ABORT', async () => {
    const rig = new StompRig();
    const peer = await login(rig);
    const ready = (): number | undefined => rig.core.vhost.queues.get('a')?.counts.ready;
    for (const [end, left] of [
      ['ABORT', 0],
      ['COMMIT', 1],
    ] as const) {
      peer.send('BEGIN\ntransaction: t\n\n\0SEND\ndestination:/queue/a\ntransaction:t\n\nx\0');
      await peer.settle();
      expect(ready()).toBe(0);
      await peer.confirm(`${end}\ntransaction:t\n\n\0`);
      expect([end, ready()]).toEqual([end, left]);
    }
  });

  test('[STOMP 1.0 §ERROR-1] an ERROR has a message, and text that says more', async () => {
    const peer = await login(new StompRig());
    peer.send('NOSUCH\n\n\0');
    const { headers, body } = await peer.error();
    expect([headers['message'], body.toString()]).toEqual(['Bad command', 'Could not interpret command "NOSUCH"\n']);
  });
});
