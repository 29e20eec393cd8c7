import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Composite, Values } from '../../../src/protocols/amqp10/performatives.ts';
import { AmqpMap, Described, symbol, uint } from '../../../src/protocols/amqp10/types.ts';
import { Amqp10Peer, bareOf, bodyOf, data, mapOf, section, sectionsOf, toSource } from '../../support/amqp10-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

let broker: BrokerProcess;
let port: number;
let queues = 0;
beforeAll(async () => {
  broker = await BrokerProcess.start();
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

const accepted: Composite = { is: 'accepted' };
const ubyte = (value: number) => ({ type: 'ubyte' as const, value });

/** A session with a sender on handle 0 and a receiver on handle 1, both of one new queue. */
async function pair(credit = 10, values: object = {}): Promise<{ peer: Amqp10Peer; queue: string }> {
  const queue = `transfers-${++queues}`;
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, queue);
  await peer.receiver(1, queue, credit, values);
  return { peer, queue };
}

describe('what a receiver gets', () => {
  test('[1.0 §3.2-1] the bare message is the sender’s, octet for octet, whatever its encodings', async () => {
    const { peer } = await pair();
    const properties = section(0x73, ['id-1', Buffer.from('guest'), 'to', 'subject', null, 'c']);
    const wide = Buffer.from('d10000000d00000002a1016bb10000000176', 'hex'); // a map32 with a str32
    const bodies = [
      Buffer.concat([properties, Buffer.from('005374', 'hex'), wide, data('plain')]),
      data('a'.repeat(300)),
      Buffer.concat([Buffer.from('005375b000000003', 'hex'), Buffer.from('abc')]), // a longer prefix than needed
      Buffer.concat([Buffer.from('00800000000000000075a003', 'hex'), Buffer.from('abc')]), // a longer descriptor
      Buffer.concat([data('one'), data(''), data('three')]),
      section(0x77, 'a value'),
      section(0x77, null),
      Buffer.concat([section(0x76, [uint(1), 'two']), section(0x76, [])]),
      Buffer.concat([properties, data('with'), section(0x78, new AmqpMap([[symbol('x-opt-crc'), uint(1)]]))]),
      Buffer.alloc(0),
    ];
    for (const bare of bodies) {
      peer.transfer(0, Buffer.concat([section(0x70, [true, ubyte(3)]), bare]));
      const { transfer, octets } = await peer.message();
      expect(bareOf(octets).toString('hex')).toBe(bare.toString('hex'));
      peer.settle(transfer.deliveryId!, accepted);
    }
    peer.destroy();
  });

  test('[1.0 §3.2.1-1] header: durability and priority as said, first-acquirer, and no count', async () => {
    const { peer } = await pair();
    peer.transfer(0, Buffer.concat([section(0x70, [true, ubyte(9)]), data('x')]));
    expect(sectionsOf((await peer.message()).octets).get(0x70)).toEqual([true, ubyte(9), null, true]);
    peer.transfer(0, data('x'));
    expect(sectionsOf((await peer.message()).octets).get(0x70)).toEqual([false, null, null, true]);
    peer.destroy();
  });

  test('[1.0 §3.2.1-2] ttl is what is left of it', async () => {
    const { peer } = await pair();
    peer.transfer(0, Buffer.concat([section(0x70, [null, null, uint(60_000)]), data('x')]));
    const [, , ttl] = sectionsOf((await peer.message()).octets).get(0x70) as unknown as { value: number }[];
    expect(ttl!.value).toBeGreaterThan(50_000);
    expect(ttl!.value).toBeLessThanOrEqual(60_000);
    peer.destroy();
  });

  test('[1.0 §3.2.3-1] annotations are the sender’s, and where it was published to', async () => {
    const { peer, queue } = await pair();
    const own = new AmqpMap([
      [symbol('x-opt-mine'), 'kept'],
      [symbol('x-routing-key'), 'forged'],
    ]);
    const delivery = section(0x71, new AmqpMap([[symbol('x-opt-hop'), true]]));
    peer.transfer(0, Buffer.concat([delivery, section(0x72, own), data('x')]));
    const sections = sectionsOf((await peer.message()).octets);
    expect((sections.get(0x72) as AmqpMap).pairs).toEqual([
      [symbol('x-opt-mine'), 'kept'],
      [symbol('x-exchange'), ''],
      [symbol('x-routing-key'), queue],
    ]);
    expect((sections.get(0x71) as AmqpMap).get('x-opt-hop')).toBe(true);
    peer.destroy();
  });
});

describe('what a sender is told', () => {
  test('accepted, once for all of a turn', async () => {
    const { peer } = await pair(0);
    const frames = Array.from({ length: 20 }, () => data('x'));
    peer.socket.cork();
    for (const frame of frames) peer.transfer(0, frame);
    peer.socket.uncork();
    const told: number[] = [];
    while (told.length < 20) {
      const { first, last, settled, state, role } = await peer.expect('disposition');
      expect({ settled, state, role }).toEqual({ settled: true, state: accepted, role: true });
      for (let id = first; id <= (last ?? first); id++) told.push(id);
    }
    expect(told).toEqual(frames.map((_, i) => i));
    peer.destroy();
  });

  test('[1.0 §2.6.12-2] nothing for what is settled already', async () => {
    const { peer } = await pair(1);
    peer.transfer(0, data('settled'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('settled');
    expect(await peer.publish(0, data('unsettled'))).toEqual(accepted);
    peer.destroy();
  });

  test('released when no queue has it', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.sender(0, '/exchanges/amq.direct/nobody');
    expect(await peer.publish(0, data('x'))).toEqual({ is: 'released' });
    peer.destroy();
  });

  test('rejected with the reason when a queue refuses', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const limits = mapOf({ 'x-max-length': uint(1), 'x-overflow': 'reject-publish' });
    await peer.manage('PUT', '/queues/full', mapOf({ arguments: limits }));
    await peer.sender(0, '/queues/full');
    expect(await peer.publish(0, data('1'))).toEqual(accepted);
    expect(await peer.publish(0, data('2'))).toMatchObject({
      is: 'rejected',
      error: { condition: 'amqp:resource-limit-exceeded' },
    });
    peer.destroy();
  });

  test('[1.0 §2.6.12-1] with rcv-settle-mode second it settles last', async () => {
    const queue = `transfers-${++queues}`;
    const peer = await Amqp10Peer.openSession(port);
    expect((await peer.sender(0, queue, { rcvSettleMode: 1 })).rcvSettleMode).toBe(1);
    const id = peer.transfer(0, data('x'));
    expect(await peer.expect('disposition')).toMatchObject({ first: id, settled: false, state: accepted });
    peer.send('disposition', { role: false, first: id, settled: true, state: accepted });
    expect(await peer.publish(0, data('y'))).toEqual(accepted);
    peer.destroy();
  });

  test('[1.0 §2.7.5-3] a transfer may ask a receiver that settles second to settle first, and not the other way round', async () => {
    const { peer, queue } = await pair(0);
    await peer.sender(5, queue, { rcvSettleMode: 1 });
    for (const rcvSettleMode of [0, 1]) {
      peer.transfer(5, data('x'), { rcvSettleMode });
      expect(await peer.expect('disposition')).toMatchObject({ settled: rcvSettleMode === 0, state: accepted });
    }
    peer.transfer(0, data('x'), { rcvSettleMode: 1, settled: true }); // of no matter where nobody settles
    peer.transfer(0, data('x'), { rcvSettleMode: 1 });
    expect((await peer.detached()).condition).toBe('amqp:invalid-field');
    peer.destroy();
  });

  test('credit is granted again before it is used up', async () => {
    const { peer } = await pair(0);
    for (let i = 0; i < 3000; i++) peer.transfer(0, data('x'), { settled: true });
    expect(await peer.publish(0, data('y'))).toEqual(accepted);
    peer.destroy();
  });
});

describe('several transfers', () => {
  test('[1.0 §2.6.14-1] are one message', async () => {
    const { peer } = await pair();
    const message = Buffer.concat([section(0x70, [true]), data('0123456789'.repeat(100))]);
    const id = peer.transfer(0, message.subarray(0, 7), { more: true });
    peer.send('transfer', { handle: 0, more: true }, 0, message.subarray(7, 500));
    peer.send('transfer', { handle: 0, deliveryId: id, more: true }, 0, Buffer.alloc(0));
    peer.send('transfer', { handle: 0 }, 0, message.subarray(500));
    expect(bodyOf((await peer.message()).octets)).toBe('0123456789'.repeat(100));
    peer.destroy();
  });

  test('[1.0 §2.7.5-2] that are aborted are nothing', async () => {
    const { peer } = await pair();
    peer.transfer(0, data('never').subarray(0, 5), { more: true });
    peer.send('transfer', { handle: 0, aborted: true });
    peer.transfer(0, data('after'));
    expect(bodyOf((await peer.message()).octets)).toBe('after');
    peer.destroy();
  });

  test('[1.0 §2.7.5-2] one that is aborted at once takes its credit, and is nothing', async () => {
    const { peer } = await pair(1);
    peer.transfer(0, data('lost'), { aborted: true });
    peer.transfer(0, data('whole'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('whole');
    peer.credit(0, 0, { deliveryCount: 2, linkCredit: undefined, echo: true });
    expect(await peer.expect('flow')).toMatchObject({ handle: 0, deliveryCount: 2, linkCredit: 1998 });
    peer.destroy();
  });

  test.each<[string, Partial<Values<'transfer'>>]>([
    ['delivery-tag', { deliveryTag: Buffer.from('other') }],
    ['message-format', { messageFormat: 1 }],
  ])('[1.0 §2.7.5-1] with another %s among them detach the link', async (_field, values) => {
    const { peer } = await pair(0);
    const deliveryId = peer.transfer(0, data('a'), { more: true });
    peer.send('transfer', {
      handle: 0,
      deliveryId,
      deliveryTag: Buffer.from(`tag-${deliveryId}`),
      messageFormat: 0,
      more: true,
    });
    peer.send('transfer', { handle: 0, ...values });
    expect((await peer.detached()).condition).toBe('amqp:invalid-field');
    peer.destroy();
  });

  test('[1.0 §2.7.5-1] with another delivery-id among them detach the link', async () => {
    const { peer } = await pair();
    peer.transfer(0, data('x'), { more: true });
    peer.send('transfer', { handle: 0, deliveryId: 77 }, 0, data('y'));
    expect(await peer.detached()).toMatchObject({ condition: 'amqp:invalid-field' });
    peer.destroy();
  });

  test('[1.0 §2.4.1-2] go out where a frame of the peer’s is too small', async () => {
    const queue = `transfers-${++queues}`;
    const peer = await Amqp10Peer.openSession(port, { maxFrameSize: 512 });
    await peer.sender(0, queue);
    await peer.receiver(1, queue, 1);
    const message = Buffer.concat([section(0x73, ['id']), data('0123456789'.repeat(200))]);
    peer.transfer(0, message);
    const { octets } = await peer.message();
    expect(bareOf(octets).equals(message)).toBe(true);
    peer.destroy();
  });

  test('[1.0 §2.5.6-1] wait for the peer’s window', async () => {
    const queue = `transfers-${++queues}`;
    const peer = await Amqp10Peer.open(port, { maxFrameSize: 512 });
    await peer.begin(0, { incomingWindow: 2 });
    await peer.sender(0, queue);
    await peer.receiver(1, queue);
    peer.credit(1, 10, { incomingWindow: 2 });
    peer.transfer(0, data('0123456789'.repeat(150)), { settled: true });
    peer.transfer(0, data('behind'), { settled: true });
    const first = await peer.expect('transfer');
    const second = await peer.expect('transfer');
    expect([first.more, second.more]).toEqual([true, true]);
    peer.credit(1, 10, { nextIncomingId: 2, incomingWindow: 100 });
    for (let more = true; more; ) more = (await peer.expect('transfer')).more === true;
    expect(bodyOf((await peer.message()).octets)).toBe('behind');
    peer.destroy();
  });
});

describe('outcomes of a receiver', () => {
  test('[1.0 §2.8.2-1] one that asks for settled deliveries has settled them by getting them', async () => {
    const { peer, queue } = await pair(1, { sndSettleMode: 1 });
    peer.transfer(0, data('x'), { settled: true });
    expect((await peer.message()).transfer.settled).toBe(true);
    peer.send('detach', { handle: 1, closed: true });
    await peer.expect('detach');
    const { body } = await peer.manage('GET', `/queues/${queue}`);
    expect((body as AmqpMap).get('message_count')).toEqual({ type: 'ulong', value: 0n });
    peer.destroy();
  });

  test('[1.0 §3.4.4-1] released: the message comes again, acquired before but not failed', async () => {
    const { peer } = await pair(2);
    peer.transfer(0, data('x'));
    const first = await peer.message();
    peer.settle(first.transfer.deliveryId!, { is: 'released' });
    expect(sectionsOf((await peer.message()).octets).get(0x70)).toEqual([false, null, null, false]);
    peer.destroy();
  });

  test('[1.0 §3.4.5-1] modified with delivery-failed counts, and annotations are added', async () => {
    const { peer } = await pair(3);
    const own = new AmqpMap([[symbol('x-opt-a'), 'old']]);
    const bare = Buffer.concat([section(0x73, ['id']), data('x')]);
    peer.transfer(0, Buffer.concat([section(0x72, own), bare]));
    const { transfer } = await peer.message();
    const messageAnnotations = new AmqpMap([
      [symbol('x-opt-a'), 'new'],
      [symbol('x-opt-b'), uint(2)],
    ]);
    peer.settle(transfer.deliveryId!, { is: 'modified', deliveryFailed: true, messageAnnotations });
    const { octets } = await peer.message();
    const sections = sectionsOf(octets);
    expect(sections.get(0x70)).toEqual([false, null, null, false, uint(1)]);
    expect((sections.get(0x72) as AmqpMap).get('x-opt-a')).toBe('new');
    expect((sections.get(0x72) as AmqpMap).get('x-opt-b')).toEqual(uint(2));
    expect(bareOf(octets).equals(bare)).toBe(true);
    peer.destroy();
  });

  test.each<[string, Composite, string]>([
    ['rejected', { is: 'rejected', error: { condition: 'test:no' } }, 'rejected'],
    ['modified with undeliverable-here', { is: 'modified', undeliverableHere: true }, 'rejected'],
  ])('[1.0 §3.4.3-1] [1.0 §3.4.5-1] %s: the message is dead-lettered, and says so', async (_name, state, reason) => {
    const peer = await Amqp10Peer.openSession(port);
    const [queue, dead] = [`dying-${++queues}`, `dead-${queues}`];
    await peer.manage('PUT', `/queues/${dead}`, mapOf({}));
    const deadLetters = mapOf({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead });
    await peer.manage('PUT', `/queues/${queue}`, mapOf({ arguments: deadLetters }));
    await peer.sender(0, `/queues/${queue}`);
    await peer.receiver(1, `/queues/${queue}`, 1);
    await peer.receiver(2, `/queues/${dead}`, 1);
    const bare = Buffer.concat([section(0x73, ['id']), data('x')]);
    peer.transfer(0, Buffer.concat([section(0x70, [true, null, uint(60_000)]), bare]));
    const { transfer } = await peer.message();
    peer.settle(transfer.deliveryId!, state);
    const { octets } = await peer.message();
    const annotations = sectionsOf(octets).get(0x72) as AmqpMap;
    expect(annotations.get('x-first-death-queue')).toBe(queue);
    expect(annotations.get('x-first-death-reason')).toBe(reason);
    const deaths = annotations.get('x-opt-deaths') as unknown as { items: AmqpMap[] };
    expect(deaths.items[0]?.get('queue')).toBe(queue);
    expect(deaths.items[0]?.get('count')).toEqual({ type: 'ulong', value: 1n });
    expect(sectionsOf(octets).get(0x70)).toEqual([true, null, null, true]);
    expect(bareOf(octets).equals(bare)).toBe(true);
    peer.destroy();
  });

  test('[1.0 §2.7.6-1] [1.0 §3.4.2-1] a range settles all that lie in it, and ids that are nobody’s do nothing', async () => {
    const { peer, queue } = await pair(3);
    for (const body of ['a', 'b', 'c']) peer.transfer(0, data(body), { settled: true });
    const ids: number[] = [];
    for (let i = 0; i < 3; i++) ids.push((await peer.message()).transfer.deliveryId!);
    peer.settle(ids[0]!, accepted, { last: ids[1]! });
    peer.settle(4_000_000_000, accepted, { last: 4_100_000_000 });
    peer.settle(ids[0]!, { is: 'released' });
    peer.send('detach', { handle: 1, closed: true });
    await peer.expect('detach');
    await peer.receiver(2, queue, 5);
    expect(bodyOf((await peer.message()).octets)).toBe('c');
    peer.destroy();
  });

  test('[1.0 §2.6.12-1] a receiver that settles second is answered by the sender’s settlement', async () => {
    const { peer } = await pair(1, { rcvSettleMode: 1 });
    peer.transfer(0, data('x'), { settled: true });
    const { transfer } = await peer.message();
    peer.settle(transfer.deliveryId!, accepted, { settled: false });
    const answer = await peer.expect('disposition');
    expect(answer).toMatchObject({ role: false, first: transfer.deliveryId, settled: true, state: accepted });
    peer.destroy();
  });

  test('[1.0 §3.5.3-3] [1.0 §2.6.17-1] what is not settled when the connection is lost comes again, as the source’s default outcome says', async () => {
    const { peer, queue } = await pair(0);
    const failing = toSource(queue, { defaultOutcome: { is: 'modified', deliveryFailed: true } });
    await peer.receiver(2, failing, 1);
    peer.transfer(0, data('x'), { settled: true });
    await peer.message();
    peer.destroy();
    const next = await Amqp10Peer.openSession(port);
    await next.receiver(0, queue, 1);
    expect(sectionsOf((await next.message()).octets).get(0x70)).toEqual([false, null, null, false, uint(1)]);
    next.destroy();
  });
});

describe('credit', () => {
  test('[1.0 §2.6.7-1] is what the receiver gives: not one more', async () => {
    const { peer } = await pair(2);
    for (let i = 0; i < 4; i++) peer.transfer(0, data(String(i)), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('0');
    expect(bodyOf((await peer.message()).octets)).toBe('1');
    peer.credit(1, 0, { deliveryCount: 2, echo: true });
    expect(await peer.expect('flow')).toMatchObject({ handle: 1, deliveryCount: 2, linkCredit: 0, available: 2 });
    peer.credit(1, 1, { deliveryCount: 2 });
    expect(bodyOf((await peer.message()).octets)).toBe('2');
    peer.destroy();
  });

  test('[1.0 §2.6.7-2] drain uses up what is left', async () => {
    const { peer } = await pair(0);
    peer.transfer(0, data('x'), { settled: true });
    peer.credit(1, 5, { drain: true });
    expect(bodyOf((await peer.message()).octets)).toBe('x');
    expect(await peer.expect('flow')).toMatchObject({ handle: 1, deliveryCount: 5, linkCredit: 0, drain: true });
    peer.transfer(0, data('later'), { settled: true });
    peer.credit(1, 1, { deliveryCount: 5 });
    expect(bodyOf((await peer.message()).octets)).toBe('later');
    peer.destroy();
  });

  test.each<[string, (port: number, queue: string) => Promise<unknown>, object]>([
    ['a plain queue', async () => {}, {}],
    [
      'a queue with priorities',
      async (paged, queue) => {
        const peer = await Amqp10Peer.openSession(paged);
        const args = mapOf({ 'x-max-priority': { type: 'ubyte', value: 5 } });
        await peer.manage('PUT', `/queues/${queue}`, mapOf({ arguments: args }));
        peer.destroy();
      },
      {},
    ],
    [
      'a queue, with a selector',
      async () => {},
      { filter: new AmqpMap([[symbol('f'), new Described('apache.org:selector-filter:string', 'color IS NULL')]]) },
    ],
  ])(
    '[§2.6.7] drain of %s brings what has left memory, too, before it says that there is no more',
    async (name, make, values) => {
      const paging = await BrokerProcess.start({ args: ['--set', 'memory.queueBytes=2000'] });
      const [paged, queue] = [paging.port('amqp'), name.replaceAll(/\W/g, '-')];
      await make(paged, queue);
      const peer = await Amqp10Peer.openSession(paged);
      await peer.sender(0, queue);
      for (let i = 0; i < 1500; i++) peer.transfer(0, data(String(i).padEnd(500)), { settled: true });
      await peer.publish(0, data('last'));
      const other = await Amqp10Peer.openSession(paged);
      await other.receiver(1, toSource(queue, values), 0, { sndSettleMode: 1 });
      let next = 0;
      for (const [deliveryCount, expected] of [
        [0, 1000],
        [1000, 501],
      ] as const) {
        other.credit(1, 1000, { deliveryCount, drain: true });
        for (let i = 0; i < expected; i++) {
          const { octets } = await other.message();
          expect(bodyOf(octets).trim()).toBe(next === 1500 ? 'last' : String(next));
          next += 1;
        }
        expect(await other.expect('flow')).toMatchObject({
          deliveryCount: deliveryCount + 1000,
          linkCredit: 0,
          drain: true,
        });
      }
      for (const each of [peer, other]) each.destroy();
      await paging.remove();
    },
  );

  test('[1.0 §2.6.6-1] of a delivery in several frames nothing comes after its link is detached', async () => {
    const { peer: sender, queue } = await pair(0);
    const peer = await Amqp10Peer.connect(port);
    await peer.login();
    await peer.sendOpen({ maxFrameSize: 512 });
    await peer.begin(0, { incomingWindow: 2 });
    await peer.receiver(0, queue);
    await sender.publish(0, data('x'.repeat(5000)));
    peer.credit(0, 1, { incomingWindow: 2 });
    for (let i = 0; i < 2; i++) expect(await peer.expect('transfer')).toMatchObject({ more: true });
    peer.send('detach', { handle: 0, closed: true });
    await peer.expect('detach');
    peer.credit(0, 1, { handle: undefined as never, incomingWindow: 100, nextIncomingId: 2, echo: true });
    expect(await peer.expect('flow')).toMatchObject({ nextOutgoingId: 2 });
    sender.credit(1, 1);
    expect(bodyOf((await sender.message()).octets)).toBe('x'.repeat(5000));
    for (const each of [sender, peer]) each.destroy();
  });

  test('[1.0 §2.5.6-2] a window that opens is open to all links of the session, whichever of them the flow names', async () => {
    const sender = await Amqp10Peer.openSession(port);
    const peer = await Amqp10Peer.connect(port);
    await peer.login();
    await peer.sendOpen();
    await peer.begin(0, { incomingWindow: 1 });
    for (const handle of [0, 1]) {
      const queue = `transfers-${++queues}`;
      await sender.sender(handle, queue);
      await peer.receiver(handle, queue);
      peer.credit(handle, 10, { incomingWindow: 1 });
    }
    await sender.publish(0, data('one'));
    expect(bodyOf((await peer.message()).octets)).toBe('one');
    await sender.publish(1, data('other'));
    peer.credit(0, 9, { incomingWindow: 10, nextIncomingId: 1, deliveryCount: 1 });
    expect(bodyOf((await peer.message()).octets)).toBe('other');
    for (const each of [sender, peer]) each.destroy();
  });

  test('[1.0 §2.5.6-3] echo on the session is answered with its windows', async () => {
    const { peer } = await pair(0);
    peer.send('flow', { nextIncomingId: 0, incomingWindow: 9, nextOutgoingId: 0, outgoingWindow: 9, echo: true });
    expect(await peer.expect('flow')).toMatchObject({ nextOutgoingId: 0, incomingWindow: 4096 });
    peer.destroy();
  });
});

test('[1.0 §2.7.3-2] a message larger than the peer takes is dead-lettered instead of sent', async () => {
  const { peer } = await pair(2, { maxMessageSize: 200 });
  peer.transfer(0, data('x'.repeat(500)), { settled: true });
  peer.transfer(0, data('small'), { settled: true });
  expect(bodyOf((await peer.message()).octets)).toBe('small');
  peer.destroy();
});

test.each([
  ['no section', Buffer.from('40', 'hex')],
  ['an unknown section', section(0x79, null)],
  ['sections out of order', Buffer.concat([data('x'), section(0x73, [])])],
  ['two values', Buffer.concat([section(0x77, 'a'), section(0x77, 'b')])],
  ['a header that is no list', section(0x70, 'header')],
  ['a section that is cut', data('cut').subarray(0, 6)],
])('[1.0 §3.2-2] %s: the link or the connection dies of it, nothing else', async (_name, octets) => {
  const { peer } = await pair();
  peer.transfer(0, octets);
  const { performative } = await peer.next();
  expect(performative).toMatchObject({ error: { condition: 'amqp:decode-error' } });
  expect(['detach', 'close']).toContain(performative.is);
  peer.destroy();
});

test('[RabbitMQ: validated user-id] another user’s name is refused', async () => {
  const { peer } = await pair();
  peer.transfer(0, Buffer.concat([section(0x73, ['id', Buffer.from('somebody')]), data('x')]));
  expect(await peer.detached()).toMatchObject({
    condition: 'amqp:unauthorized-access',
    description: "user_id property set to 'somebody' but authenticated user was 'guest'",
  });
  peer.destroy();
});
