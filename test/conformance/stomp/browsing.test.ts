import { expect, test } from 'vitest';
import { type RigPeer, StompRig } from '../../support/stomp-rig.ts';

/** SUBSCRIBE with `browser:true`, as ActiveMQ has it. */

async function given(count: number, declared = '') {
  const rig = new StompRig();
  const publisher = await rig.login();
  for (let i = 1; i <= count; i++) await publisher.publish('/queue/q', String(i), `n:${i}\n${declared}`);
  return { rig, publisher, peer: await rig.login('accept-version:1.2') };
}

async function browse(peer: RigPeer, headers = ''): Promise<(string | undefined)[]> {
  await peer.subscribe('b', '/queue/q', `browser:true\n${headers}`);
  return (await peer.frames()).map(({ body, headers: { browser } }) => browser ?? body.toString());
}

test('all that waits is shown, then the end is; nothing is taken', async () => {
  const { rig, peer } = await given(3);
  expect(await browse(peer)).toEqual(['1', '2', '3', 'end']);
  expect(rig.core.vhost.queues.get('q')?.counts).toEqual({ ready: 3, unacked: 0, consumers: 0 });
});

test('the frame at the end: subscription, destination, message id 0 and no body', async () => {
  const { peer } = await given(0);
  await peer.subscribe('b', '/queue/q', 'browser:true\n');
  const [end] = await peer.frames();
  expect(end?.command).toBe('MESSAGE');
  expect(end?.headers).toEqual({ subscription: 'b', destination: '/queue/q', 'message-id': '0', browser: 'end' });
  expect(end?.body.length).toBe(0);
});

test('more than one look at the queue shows, in order, once', async () => {
  const { peer } = await given(250);
  const numbers = Array.from({ length: 250 }, (_, i) => String(i + 1));
  expect(await browse(peer)).toEqual([...numbers, 'end']);
});

test('with a selector only what it selects', async () => {
  const { peer } = await given(4);
  expect(await browse(peer, 'selector:n > 2\n')).toEqual(['3', '4', 'end']);
});

test('of a queue with priorities: in the order in which it would be delivered', async () => {
  const rig = new StompRig();
  const publisher = await rig.login();
  for (const [body, priority] of [
    ['low', 1],
    ['high', 9],
    ['middle', 5],
  ]) {
    await publisher.publish('/queue/q', String(body), `priority:${priority}\nx-max-priority:9\n`);
  }
  const peer = await rig.login('accept-version:1.2');
  expect(await browse(peer, 'x-max-priority:9\n')).toEqual(['high', 'middle', 'low', 'end']);
});

test('what comes after the end is not shown, and a consumer takes what was browsed', async () => {
  const { peer, publisher, rig } = await given(1);
  expect(await browse(peer)).toEqual(['1', 'end']);
  await publisher.publish('/queue/q', '2');
  expect(await peer.frames()).toEqual([]);
  await peer.confirm('UNSUBSCRIBE\nid:b\n\n\0');
  const consumer = await rig.login('accept-version:1.2');
  await consumer.subscribe('0', '/queue/q');
  expect((await consumer.frames()).map(({ body }) => body.toString())).toEqual(['1', '2']);
});

test('it is for 1.1 and later, and for queues', async () => {
  const rig = new StompRig();
  const old = await rig.login('x:');
  old.send('SUBSCRIBE\ndestination:/queue/q\nbrowser:true\n\n\0');
  expect((await old.error()).body.toString()).toContain('only valid for Stomp v1.1+');
  const peer = await rig.login('accept-version:1.2');
  peer.send('SUBSCRIBE\nid:0\ndestination:/topic/t\nbrowser:true\n\n\0');
  expect((await peer.error()).headers['message']).toBe('Invalid destination');
});
