import { expect, test } from 'vitest';
import { StompRig } from '../../support/stomp-rig.ts';

const bodies = (frames: readonly { body: Buffer }[]): string[] => frames.map(({ body }) => body.toString());

test('[STOMP 1.2 §BEGIN-2] a name is unique while it is open, and free again after', async () => {
  const peer = await new StompRig().login();
  for (const end of ['COMMIT', 'ABORT']) {
    await peer.confirm('BEGIN\ntransaction:t\n\n\0');
    await peer.confirm(`${end}\ntransaction:t\n\n\0`);
  }
  peer.send('BEGIN\ntransaction:t\n\n\0BEGIN\ntransaction:t\nreceipt:2\n\n\0');
  expect((await peer.error()).headers).toMatchObject({ message: 'Bad transaction', 'receipt-id': '2' });
});

for (const command of ['BEGIN', 'COMMIT', 'ABORT']) {
  test(`[STOMP 1.2 §BEGIN-1][STOMP 1.2 §COMMIT-1][STOMP 1.2 §ABORT-1] the transaction header is required`, async () => {
    const peer = await new StompRig().login();
    peer.send(`${command}\nreceipt:r\n\n\0`);
    const error = await peer.error();
    expect(error.headers).toMatchObject({ message: 'Missing transaction', 'receipt-id': 'r' });
    expect(error.body.toString()).toBe(`"${command}" must include a 'transaction' header\n`);
  });
}

for (const frame of [
  'SEND\ndestination:/queue/q\ntransaction:none\n\nx\0',
  'COMMIT\ntransaction:none\n\n\0',
  'ABORT\ntransaction:none\n\n\0',
]) {
  test(`${frame.split('\n')[0]} of a transaction that is not open: ERROR`, async () => {
    const peer = await new StompRig().login();
    peer.send(frame);
    const error = await peer.error();
    expect(error.headers['message']).toBe('Bad transaction');
    expect(error.body.toString()).toBe('Invalid transaction identifier: "none"\n');
  });
}

test('ACK and NACK of a transaction that is not open: ERROR, and the message is as it was', async () => {
  for (const command of ['ACK', 'NACK']) {
    const rig = new StompRig();
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/q', 'ack:client\n');
    peer.send('SEND\ndestination:/queue/q\n\nx\0');
    const [message] = await peer.frames();
    peer.send(`${command}\nid:${message?.headers['ack']}\ntransaction:none\n\n\0`);
    expect((await peer.error()).headers['message']).toBe('Bad transaction');
    const other = await rig.login();
    await other.subscribe('0', '/queue/q');
    expect(bodies(await other.frames())).toEqual(['x']);
  }
});

test('[STOMP 1.2 §BEGIN-3][STOMP 1.2 §SEND-2][STOMP 1.2 §ACK-2] sends, acks and nacks happen together, in their order, and not before', async () => {
  const rig = new StompRig();
  const [peer, watcher] = [await rig.login(), await rig.login()];
  await peer.subscribe('0', '/queue/in', 'ack:client-individual\n');
  await watcher.subscribe('0', '/queue/out');
  for (const body of '123') await watcher.publish('/queue/in', body);
  const [first, second, third] = await peer.frames();
  peer.send('BEGIN\ntransaction:t\n\n\0');
  peer.send('SEND\ndestination:/queue/out\ntransaction:t\n\na\0SEND\ndestination:/queue/out\ntransaction:t\n\nb\0');
  peer.send(`ACK\nid:${first?.headers['ack']}\ntransaction:t\n\n\0`);
  peer.send(`NACK\nid:${second?.headers['ack']}\ntransaction:t\n\n\0`);
  peer.send(`NACK\nid:${third?.headers['ack']}\ntransaction:t\nrequeue:false\n\n\0`);
  await watcher.silence();
  await peer.silence();
  peer.send('COMMIT\ntransaction:t\nreceipt:c\n\n\0');
  expect(bodies(await watcher.frames())).toEqual(['a', 'b']);
  const after = await peer.frames();
  expect(after.map(({ command, body, headers }) => `${command} ${headers['receipt-id'] ?? body}`).sort()).toEqual([
    'MESSAGE 2',
    'RECEIPT c',
  ]);
});

test('[STOMP 1.2 §ABORT] nothing happens; what was acked may be acked again, in another transaction too', async () => {
  const peer = await new StompRig().login();
  await peer.subscribe('0', '/queue/q', 'ack:client\n');
  peer.send('SEND\ndestination:/queue/q\n\n1\0SEND\ndestination:/queue/q\n\n2\0');
  const [, second] = await peer.frames();
  for (const command of ['ACK', 'NACK']) {
    peer.send(`BEGIN\ntransaction:t\n\n\0${command}\nid:${second?.headers['ack']}\ntransaction:t\n\n\0`);
    await peer.confirm('ABORT\ntransaction:t\n\n\0');
  }
  peer.send(`BEGIN\ntransaction:u\n\n\0ACK\nid:${second?.headers['ack']}\ntransaction:u\n\n\0`);
  await peer.confirm('COMMIT\ntransaction:u\n\n\0');
  peer.send(`ACK\nid:${second?.headers['ack']}\n\n\0`);
  expect((await peer.error()).headers['message']).toBe('Message not found');
});

test('[STOMP 1.2 §BEGIN-4] DISCONNECT and a lost connection abort what was not committed', async () => {
  for (const end of ['DISCONNECT', 'lost']) {
    const rig = new StompRig();
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/q', 'ack:client\n');
    peer.send('SEND\ndestination:/queue/q\n\nkept\0');
    const [message] = await peer.frames();
    peer.send('BEGIN\ntransaction:t\n\n\0SEND\ndestination:/queue/q\ntransaction:t\n\nnever\0');
    peer.send(`ACK\nid:${message?.headers['ack']}\ntransaction:t\n\n\0`);
    if (end === 'lost') peer.stream.destroy();
    else await peer.confirm('DISCONNECT\n\n\0');
    const other = await rig.login();
    await other.subscribe('0', '/queue/q');
    expect(bodies(await other.frames())).toEqual(['kept']);
  }
});

test('[STOMP 1.2 §BEGIN-3][STOMP 1.2 §SEND-4] a transaction that a queue refuses is not done in part: ERROR', async () => {
  const rig = new StompRig();
  const peer = await rig.login();
  await peer.publish('/queue/full', '1', 'x-max-length:1\nx-overflow:reject-publish\n');
  peer.send('BEGIN\ntransaction:t\n\n\0SEND\ndestination:/queue/free\ntransaction:t\n\nx\0');
  peer.send('SEND\ndestination:/queue/full\ntransaction:t\n\n2\0COMMIT\ntransaction:t\nreceipt:c\n\n\0');
  expect((await peer.error()).headers).toMatchObject({ message: 'Transaction refused', 'receipt-id': 'c' });
  expect(rig.core.vhost.queues.get('free')?.counts.ready).toBe(0);
});

test('[RabbitMQ] the receipt of a SEND in a transaction comes with the commit; [ActiveMQ] at once', async () => {
  for (const [dialect, order] of [
    ['rabbitmq', 'begun,send,commit'],
    ['activemq', 'send,begun,commit'],
  ] as const) {
    const peer = await new StompRig({ dialect }).login();
    peer.send('BEGIN\ntransaction:t\n\n\0SEND\ndestination:/queue/q\ntransaction:t\nreceipt:send\n\nx\0');
    peer.send('BEGIN\ntransaction:other\nreceipt:begun\n\n\0COMMIT\ntransaction:t\nreceipt:commit\n\n\0');
    expect((await peer.frames()).map(({ headers }) => headers['receipt-id']).join()).toBe(order);
  }
});

test('only so many at a time', async () => {
  const peer = await new StompRig().login();
  for (let i = 0; i <= 256; i++) peer.send(`BEGIN\ntransaction:${i}\n\n\0`);
  expect((await peer.error()).headers['message']).toBe('Transaction limit exceeded');
});
