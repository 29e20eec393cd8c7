import { describe, expect, test } from 'vitest';
import { type RigPeer, StompRig } from '../../support/stomp-rig.ts';

/** A queue with so many messages, and a subscriber that was given them. */
async function given(count: number, headers: string, connect = 'accept-version:1.2') {
  const rig = new StompRig();
  const peer = await rig.login(connect);
  await peer.subscribe('0', '/queue/q', headers);
  const publisher = await rig.login();
  for (let i = 1; i <= count; i++) await publisher.publish('/queue/q', String(i));
  return { rig, peer, publisher, messages: await peer.frames() };
}

/** What the next subscriber finds once the first is gone. */
async function left(rig: StompRig, peer: RigPeer): Promise<string[]> {
  await peer.confirm('DISCONNECT\n\n\0');
  const other = await rig.login();
  await other.subscribe('0', '/queue/q');
  return (await other.frames()).map(({ body, headers }) => `${body}${headers['redelivered'] === 'true' ? '*' : ''}`);
}

describe('[STOMP 1.2 §SUBSCRIBE ack Header]', () => {
  test('[STOMP 1.2 §SUBSCRIBE ack Header-1] auto, the default: nothing is left, nothing can be acked', async () => {
    const { rig, peer, messages } = await given(2, '');
    expect(messages.map(({ headers }) => 'ack' in headers)).toEqual([false, false]);
    expect(await left(rig, peer)).toEqual([]);
    const again = await given(1, 'ack:auto\n', 'accept-version:1.1');
    again.peer.send(`ACK\nsubscription:0\nmessage-id:${again.messages[0]?.headers['message-id']}\n\n\0`);
    expect((await again.peer.error()).headers['message']).toBe('Message not found');
  });

  test('[STOMP 1.2 §SUBSCRIBE ack Header-2] client: an ACK is for all before it, of its own subscription', async () => {
    const { rig, peer, publisher, messages } = await given(3, 'ack:client\n');
    await peer.subscribe('other', '/queue/r', 'ack:client\n');
    await publisher.publish('/queue/r', 'of another');
    const [other] = await peer.frames();
    await publisher.publish('/queue/q', '4');
    const [fourth] = await peer.frames();
    await peer.confirm(`ACK\nid:${fourth?.headers['ack']}\n\n\0`);
    await peer.confirm(`ACK\nid:${other?.headers['ack']}\n\n\0`);
    expect(messages).toHaveLength(3);
    expect(await left(rig, peer)).toEqual([]);
  });

  test('[STOMP 1.2 §SUBSCRIBE ack Header-3] client-individual: an ACK of a later message does not ack one before it', async () => {
    const { rig, peer, messages } = await given(3, 'ack:client-individual\n');
    await peer.confirm(`ACK\nid:${messages[1]?.headers['ack']}\n\n\0`);
    expect(await left(rig, peer)).toEqual(['1*', '3*']);
  });

  test('[STOMP 1.2 §SUBSCRIBE ack Header-1] any other mode is an ERROR', async () => {
    const peer = await new StompRig().login();
    peer.send('SUBSCRIBE\nid:0\ndestination:/queue/q\nack:sometimes\n\n\0');
    expect((await peer.error()).headers['message']).toBe('Invalid header');
  });
});

describe('ACK and NACK by version', () => {
  for (const [version, connect, acks] of [
    ['1.0', 'x:', (id: string) => `ACK\nmessage-id:${id}\n\n\0`],
    ['1.1', 'accept-version:1.1', (id: string) => `ACK\nsubscription:0\nmessage-id:${id}\n\n\0`],
    ['1.2', 'accept-version:1.2', (_: string, ack: string) => `ACK\nid:${ack}\n\n\0`],
  ] as const) {
    test(`[STOMP 1.2 §MESSAGE-4][STOMP 1.2 §ACK-1][STOMP 1.1 §ACK-1][STOMP 1.1 §MESSAGE-1][STOMP 1.0 §ACK-1] ${acks('message id', 'ack').split('\n').slice(1, -2).join(', ')}`, async () => {
      const { rig, peer, messages } = await given(1, 'ack:client\n', connect);
      const { headers } = messages[0]!;
      expect('ack' in headers).toBe(version === '1.2');
      await peer.confirm(acks(headers['message-id']!, headers['ack'] ?? ''));
      expect(await left(rig, peer)).toEqual([]);
    });
  }

  test('[STOMP 1.1 §ACK-1] a subscription that is not the one it was sent to is an ERROR', async () => {
    const { peer, messages } = await given(1, 'ack:client\n', 'accept-version:1.1');
    peer.send(`ACK\nsubscription:9\nmessage-id:${messages[0]?.headers['message-id']}\nreceipt:a\n\n\0`);
    expect((await peer.error()).headers).toMatchObject({ message: 'Subscription not found', 'receipt-id': 'a' });
  });

  for (const command of ['ACK', 'NACK']) {
    test(`[STOMP 1.2 §ACK-1][STOMP 1.2 §NACK-1][STOMP 1.1 §ACK-1][STOMP 1.1 §NACK-1] without id, of an unknown one, twice, or of another connection: ERROR`, async () => {
      for (const [connect, frame, message] of [
        ['accept-version:1.2', `${command}\n\n\0`, 'Missing header'],
        ['accept-version:1.1', `${command}\nsubscription:0\n\n\0`, 'Missing header'],
        ['accept-version:1.2', `${command}\nid:nonsense\n\n\0`, 'Message not found'],
        ['accept-version:1.2', `${command}\nid:session-x@@1\n\n\0`, 'Message not found'],
      ] as const) {
        const peer = await new StompRig().login(connect);
        peer.send(frame);
        expect((await peer.error()).headers['message']).toBe(message);
      }
      const { peer, publisher, messages } = await given(1, 'ack:client-individual\n');
      const id = messages[0]?.headers['ack'];
      publisher.send(`${command}\nid:${id}\n\n\0`);
      expect((await publisher.error()).headers['message']).toBe('Message not found');
      await peer.confirm(`ACK\nid:${id}\n\n\0`);
      peer.send(`${command}\nid:${id}\n\n\0`);
      expect((await peer.error()).headers['message']).toBe('Message not found');
    });
  }
});

describe('NACK', () => {
  test('[STOMP 1.2 §NACK-2] client-individual: that message alone comes again, redelivered', async () => {
    const { peer, messages } = await given(2, 'ack:client-individual\n');
    peer.send(`NACK\nid:${messages[0]?.headers['ack']}\n\n\0`);
    const again = await peer.frames();
    expect(again.map(({ body, headers }) => [body.toString(), headers['redelivered']])).toEqual([['1', 'true']]);
  });

  test('[STOMP 1.2 §NACK-2] client: all before it that were not yet settled', async () => {
    const { peer, messages } = await given(3, 'ack:client\n');
    peer.send(`NACK\nid:${messages[1]?.headers['ack']}\n\n\0`);
    expect((await peer.frames()).map(({ body }) => body.toString())).toEqual(['1', '2']);
  });

  test.each([
    ['', true],
    ['requeue:true\n', true],
    ['requeue:True\n', true],
    ['requeue:false\n', false],
    ['requeue:False\n', false],
  ])('[RabbitMQ] NACK with %j requeues: %s', async (header, requeues) => {
    const { peer, messages } = await given(1, 'ack:client-individual\n');
    peer.send(`NACK\nid:${messages[0]?.headers['ack']}\n${header}\n\0`);
    expect((await peer.frames()).map(({ body }) => body.toString())).toEqual(requeues ? ['1'] : []);
  });
});

describe('prefetch', () => {
  for (const header of ['prefetch-count', 'activemq.prefetchSize']) {
    for (const mode of ['client', 'client-individual']) {
      test(`${header}:2 with ack:${mode}: two unacked at most`, async () => {
        const { peer, messages } = await given(5, `ack:${mode}\n${header}:2\n`);
        expect(messages.map(({ body }) => body.toString())).toEqual(['1', '2']);
        peer.send(`ACK\nid:${messages[1]?.headers['ack']}\n\n\0`);
        const more = mode === 'client' ? ['3', '4'] : ['3'];
        expect((await peer.frames()).map(({ body }) => body.toString())).toEqual(more);
      });
    }
  }

  test('one that is no number is an ERROR', async () => {
    const peer = await new StompRig().login();
    peer.send('SUBSCRIBE\nid:0\ndestination:/queue/q\nprefetch-count:many\n\n\0');
    expect((await peer.error()).headers['message']).toBe('Invalid header');
  });
});
