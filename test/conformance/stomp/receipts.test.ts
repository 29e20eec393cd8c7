import { describe, expect, test } from 'vitest';
import type { Position, PublishReceipt } from '../../../src/core/journal.ts';
import type { KeptEntry } from '../../../src/core/queue/entry.ts';
import { MemoryJournal } from '../../../src/storage/memory.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { StompRig } from '../../support/stomp-rig.ts';
import { StompWire } from '../../support/stomp-wire.ts';

/** A disk that takes its time: what waits for it is told when the test says so. */
class SlowJournal extends MemoryJournal {
  private done: Position = 0;
  private waiting: { readonly upTo: Position; readonly tell: () => void }[] = [];

  override get durable(): Position {
    return this.done;
  }

  override publish(first: KeptEntry): Position {
    for (let entry: KeptEntry | null = first; entry !== null; entry = entry.sibling) entry.journal = 'written';
    return super.publish(first);
  }

  override confirm(upTo: Position, receipt: PublishReceipt, tag: number): void {
    this.whenDurable(upTo, () => receipt.confirmed(tag));
  }

  override whenDurable(upTo: Position, tell: () => void): void {
    if (upTo <= this.done) tell();
    else this.waiting.push({ upTo, tell });
  }

  sync(): void {
    this.done = this.position;
    for (const { tell } of this.waiting.splice(0)) tell();
  }
}

async function slow(): Promise<{ rig: StompRig; journal: SlowJournal }> {
  const journal = new SlowJournal();
  const rig = new StompRig({}, { journal });
  rig.core.declare('there', {}, true);
  journal.sync();
  return { rig, journal };
}

describe('[STOMP 1.2 §Header receipt] a RECEIPT waits for the disk', () => {
  test.each([
    ['SEND of a persistent message', 'SEND\ndestination:/queue/there\npersistent:true\nreceipt:r\n\nx\0'],
    ['SUBSCRIBE that declares a queue', 'SUBSCRIBE\nid:0\ndestination:/queue/new\nreceipt:r\n\n\0'],
    ['durable SUBSCRIBE', 'SUBSCRIBE\nid:0\ndestination:/topic/t\ndurable:true\nauto-delete:false\nreceipt:r\n\n\0'],
    [
      'COMMIT',
      'BEGIN\ntransaction:t\n\n\0SEND\ndestination:/queue/there\npersistent:true\ntransaction:t\n\nx\0COMMIT\ntransaction:t\nreceipt:r\n\n\0',
    ],
    [
      'DISCONNECT behind a SEND without one',
      'SEND\ndestination:/queue/there\npersistent:true\n\nx\0DISCONNECT\nreceipt:r\n\n\0',
    ],
  ])('%s', async (_, frames) => {
    const { rig, journal } = await slow();
    const peer = await rig.login();
    peer.send(frames);
    await peer.silence();
    journal.sync();
    expect((await peer.next()).headers['receipt-id']).toBe('r');
  });

  test('ACK and NACK, alone and in a transaction, and the UNSUBSCRIBE of a durable subscription', async () => {
    const { rig, journal } = await slow();
    const peer = await rig.login();
    peer.send('SUBSCRIBE\nid:0\ndestination:/queue/there\nack:client-individual\n\n\0');
    peer.send('SUBSCRIBE\nid:d\ndestination:/topic/t\ndurable:true\nauto-delete:false\n\n\0');
    peer.send('SEND\ndestination:/queue/there\npersistent:true\n\nx\0'.repeat(3));
    journal.sync();
    const ids = (await peer.frames()).map(({ headers }) => headers['ack']);
    for (const frames of [
      `ACK\nid:${ids[0]}\nreceipt:r\n\n\0`,
      `NACK\nid:${ids[1]}\nrequeue:false\nreceipt:r\n\n\0`,
      `BEGIN\ntransaction:t\n\n\0ACK\nid:${ids[2]}\ntransaction:t\n\n\0COMMIT\ntransaction:t\nreceipt:r\n\n\0`,
      'UNSUBSCRIBE\nid:d\ndurable:true\nreceipt:r\n\n\0',
    ]) {
      peer.send(frames);
      await peer.silence();
      journal.sync();
      expect((await peer.frames()).map(({ headers }) => headers['receipt-id'])).toEqual(['r']);
    }
  });

  test('what leaves no trace has its RECEIPT at once', async () => {
    const { rig } = await slow();
    const peer = await rig.login();
    for (const frame of [
      'SEND\ndestination:/queue/there\nreceipt:r\n\nnot persistent\0',
      'SEND\ndestination:/topic/nobody\npersistent:true\nreceipt:r\n\nx\0',
      'SUBSCRIBE\nid:0\ndestination:/topic/t\nreceipt:r\n\n\0',
      'UNSUBSCRIBE\nid:0\nreceipt:r\n\n\0',
      'BEGIN\ntransaction:t\nreceipt:r\n\n\0',
      'ABORT\ntransaction:t\nreceipt:r\n\n\0',
    ]) {
      peer.send(frame);
      expect((await peer.next()).headers['receipt-id']).toBe('r');
    }
  });

  test('frames that say the same each have a RECEIPT of their own, and are looked at anew', async () => {
    const { rig, journal } = await slow();
    const peer = await rig.login();
    const receipts = async () =>
      (await peer.frames()).map(({ headers, command }) => `${command} ${headers['receipt-id']}`);
    peer.send('SEND\ndestination:/queue/there\nreceipt:r\n\nx\0'.repeat(3));
    expect(await receipts()).toEqual(['RECEIPT r', 'RECEIPT r', 'RECEIPT r']);
    peer.send('SEND\ndestination:/queue/there\npersistent:true\nreceipt:p\n\nx\0'.repeat(2));
    await peer.silence();
    journal.sync();
    expect(await receipts()).toEqual(['RECEIPT p', 'RECEIPT p']);
    const inTransaction = 'SEND\ndestination:/queue/there\ntransaction:t\nreceipt:t\n\nx\0';
    peer.send(`BEGIN\ntransaction:t\n\n\0${inTransaction}COMMIT\ntransaction:t\n\n\0${inTransaction}`);
    expect((await receipts()).at(-1)).toBe('ERROR t');
  });

  test('[STOMP 1.2 §RECEIPT-1] receipt ids are octets: they come back as they were', async () => {
    const { rig, journal } = await slow();
    const peer = await rig.login();
    for (const id of ['a\\cb\\n', 'ß€', ' padded ', '']) {
      peer.send(`SEND\ndestination:/queue/there\npersistent:true\nreceipt:${id}\n\nx\0`);
      journal.sync();
      expect((await peer.next()).lines).toEqual([`receipt-id:${id}`]);
    }
  });
});

test('what a RECEIPT promised is there after kill -9: SEND, ACK, COMMIT, ABORT, durable SUBSCRIBE', async () => {
  const first = await BrokerProcess.start();
  const peer = await StompWire.login(first.port('stomp'));
  const persistent = 'persistent:true\n';
  await peer.subscribe('d', '/topic/news', 'durable:true\nauto-delete:false\n');
  await peer.confirm('UNSUBSCRIBE\nid:d\n\n\0');
  for (const body of ['1', '2', '3', '4']) await peer.publish('/queue/q', body, persistent);
  await peer.subscribe('q', '/queue/q', 'ack:client-individual\nprefetch-count:3\n');
  const acks = [await peer.next(), await peer.next(), await peer.next()].map(({ headers }) => headers['ack']);
  peer.send(`ACK\nid:${acks[0]}\nreceipt:acked\n\n\0`);
  const next = [await peer.next(), await peer.next()];
  expect(next.map(({ headers, body }) => headers['receipt-id'] ?? body.toString()).sort()).toEqual(['4', 'acked']);
  peer.send(`BEGIN\ntransaction:t\n\n\0ACK\nid:${acks[1]}\ntransaction:t\n\n\0`);
  peer.send(`SEND\ndestination:/queue/out\ntransaction:t\n${persistent}\ncommitted\0`);
  await peer.confirm('COMMIT\ntransaction:t\n\n\0');
  peer.send(`BEGIN\ntransaction:u\n\n\0ACK\nid:${acks[2]}\ntransaction:u\n\n\0`);
  peer.send(`SEND\ndestination:/queue/out\ntransaction:u\n${persistent}\naborted\0`);
  await peer.confirm('ABORT\ntransaction:u\n\n\0');
  const publisher = await StompWire.login(first.port('stomp'));
  await publisher.publish('/topic/news', 'kept', persistent);
  await first.kill();
  const again = await BrokerProcess.start({ dataDir: first.dataDir });
  const reader = await StompWire.login(again.port('stomp'));
  await reader.subscribe('q', '/queue/q');
  expect(await reader.bodies(2)).toEqual(['3', '4']);
  await reader.subscribe('out', '/queue/out');
  expect(await reader.bodies(1)).toEqual(['committed']);
  await reader.subscribe('d', '/topic/news', 'durable:true\nauto-delete:false\n');
  expect(await reader.bodies(1)).toEqual(['kept']);
  await reader.confirm('DISCONNECT\n\n\0');
  await reader.closed();
  peer.destroy();
  publisher.destroy();
  await again.stop();
  await first.remove();
});
