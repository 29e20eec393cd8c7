import { expect, test } from 'vitest';
import { StompRig } from '../../support/stomp-rig.ts';

test.each([
  ['0,0', '0,0'],
  ['500,2500', '2500,1000'],
  ['5000,0', '0,5000'],
  ['0,10', '1000,0'],
])(
  '[STOMP 1.2 §Heart-beating-3] CONNECT with heart-beat:%s is told what will be, and wanted: %s [RabbitMQ, ActiveMQ]',
  async (asked, told) => {
    const rig = new StompRig();
    const peer = rig.open();
    peer.send(`CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:${asked}\n\n\0`);
    expect((await peer.next()).headers['heart-beat']).toBe(told);
  },
);

test('[STOMP 1.2 §Heart-beating-4][STOMP 1.1 §Heart-beating-1] a server that has nothing to say sends one LF at least every n milliseconds', async () => {
  const rig = new StompRig();
  const peer = await rig.login('accept-version:1.2\nheart-beat:0,5000');
  for (let second = 0; second < 20; second++) {
    rig.passSecond();
    await peer.settle();
    if (second % 5 === 4) {
      expect(peer.received.toString()).toMatch(/^\n+$/);
      peer.received = Buffer.alloc(0);
    }
  }
});

test('[STOMP 1.2 §Heart-beating-4] the shortest interval is kept too: no second without a LF', async () => {
  const rig = new StompRig();
  const peer = await rig.login('accept-version:1.2\nheart-beat:0,1000');
  for (let tenth = 0; tenth < 100; tenth++) {
    rig.core.clock.advance(100);
    await peer.settle();
    expect(rig.core.clock.nowMs - peer.stream.lastWriteMs).toBeLessThan(1000);
  }
  expect(peer.received.toString()).toMatch(/^\n{10,}$/);
});

test('[STOMP 1.2 §Heart-beating-2] a missing header is 0,0: no beats are sent, none expected', async () => {
  const rig = new StompRig();
  const peer = await rig.login();
  for (let second = 0; second < 600; second++) rig.passSecond();
  await peer.settle();
  expect(peer.received).toHaveLength(0);
  expect(peer.ended).toBe(false);
});

test('[STOMP 1.2 §Heart-beating-3][STOMP 1.2 §Heart-beating-5] max(cx, sy): beats expected every 5 s are tolerated late, and missed ends the connection', async () => {
  const rig = new StompRig();
  const peer = await rig.login('accept-version:1.2\nheart-beat:5000,0');
  for (let second = 0; second < 9; second++) rig.passSecond();
  expect(peer.ended).toBe(false);
  peer.send('\n');
  for (let second = 0; second < 9; second++) rig.passSecond();
  expect(peer.ended).toBe(false);
  for (let second = 0; second < 3; second++) rig.passSecond();
  await peer.settle();
  expect(peer.ended).toBe(true);
  expect(rig.door.connections.size).toBe(0);
});

test('[STOMP 1.2 §Heart-beating-5] any octets are a sign of life, a piece of a frame too', async () => {
  const rig = new StompRig();
  const peer = await rig.login('accept-version:1.1\nheart-beat:2000,0');
  for (const octet of 'SEND\ndestination:/topic/slow\n') {
    for (let second = 0; second < 3; second++) rig.passSecond();
    peer.send(octet);
  }
  expect(peer.ended).toBe(false);
});

test('who does not log in in time is closed', async () => {
  const rig = new StompRig();
  const peer = rig.open();
  for (let second = 0; second < 9; second++) rig.passSecond();
  expect(peer.ended).toBe(false);
  rig.passSecond();
  await peer.settle();
  expect(peer.ended).toBe(true);
  expect(rig.door.handshakes.size).toBe(0);
});
