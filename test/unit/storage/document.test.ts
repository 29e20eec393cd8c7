import { expect, test } from 'vitest';
import { encodeText } from '../../../src/lib/bytes.ts';
import { silent } from '../../../src/lib/log.ts';
import { publishedAt } from '../../../src/storage/record.ts';
import { recover } from '../../../src/storage/recovery.ts';
import { createMessage, int } from '../../support/core.ts';
import { type DocumentedState, readJournal } from '../../support/document-reader.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { Random } from '../../support/random.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

/** What lives, by the document's reader, so that it can be compared. */
function byDocument(state: DocumentedState): object {
  const entries: Record<string, unknown[]> = {};
  for (const [queue, each] of state.queues) {
    if (each.size === 0) continue;
    entries[queue] = [...each]
      .sort(([a], [b]) => a - b)
      .map(([sequence, { value }]) => [
        sequence,
        value.body.toString('latin1'),
        value.native.toString('latin1'),
        value.expiresAtMs,
        value.priority,
        value.routingKey.toString('latin1'),
        value.exchange.toString('latin1'),
        value.format,
        value.qos,
        (value.flags & 1) !== 0,
        (value.flags & 4) === 0,
        value.deaths,
      ]);
  }
  const values: Record<string, string> = {};
  for (const [kind, each] of state.values) {
    for (const [key, { value }] of each) values[`${kind} ${key}`] = value.toString('latin1');
  }
  return { entries, values };
}

/** The same by the broker's own. */
async function byBroker(files: Map<string, Buffer>): Promise<object> {
  const epochs = (JSON.parse(files.get('MANIFEST')!.toString()) as { segments: number[] }).segments;
  const state = await recover(SimulatedDisk.holding(files), epochs, silent);
  const { cold } = state.catalog;
  const entries: Record<string, unknown[]> = {};
  for (const queue of state.queues()) {
    entries[queue.id] = [...queue.slots].map((slot) => {
      const record = publishedAt(files.get(cold.home(slot).file)!, cold.offset(slot));
      const { body, native, exchange, routingKey, formatId } = record;
      const message = record.toMessage();
      return [
        queue.sequence(slot),
        body.toString('latin1'),
        native.toString('latin1'),
        record.expiryIn(queue.id),
        record.priority,
        encodeText(routingKey).toString('latin1'),
        encodeText(exchange).toString('latin1'),
        formatId,
        message.qos,
        message.retain,
        message.durable,
        message.deaths,
      ];
    });
  }
  const values: Record<string, string> = {};
  for (const [kind, each] of state.catalog.kinds) {
    for (const { keyBytes, value } of each.values()) {
      values[`${kind} ${keyBytes.toString('latin1')}`] = value.toString('latin1');
    }
  }
  return { entries, values };
}

test('a program that knows docs/storage.md alone reads the state that the broker reads, after compaction and a torn tail too', async () => {
  const segmentBytes = 4096;
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const disk = new SimulatedDisk();
    disk.preparedBytes = 1000;
    const core = await JournaledBroker.open(disk, segmentBytes);
    const names = ['a', 'b', 'quorum', 'brief', 'schlüssel'];
    for (const name of names) {
      const args = {
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': 'a',
        ...(name === 'quorum' ? { 'x-queue-type': 'quorum' } : {}),
        ...(name === 'brief' ? { 'x-message-ttl': int(60_000) } : {}),
      };
      core.vhost.bind(core.client, 'amq.fanout', core.declare(name, name === 'a' ? {} : args), '', new Map());
    }
    for (let step = 0; step < 300; step++) {
      const name = random.pick(names);
      const choice = random.next();
      if (choice < 0.5) {
        const exchange = random.chance(0.3) ? 'amq.fanout' : '';
        const key = random.chance(0.2) && exchange !== '' ? '\udcff.ü' : name;
        const message = createMessage('x'.repeat(random.below(300)), {
          durable: random.chance(0.8),
          exchange,
          key,
          priority: random.below(3) - 1,
          expiresAtMs: random.chance(0.2) ? core.clock.nowMs + 100_000 : 0,
        });
        core.vhost.publish(core.vhost.routeFor(exchange, key), message, null, 0);
      } else if (choice < 0.8) {
        const entry = core.get(name);
        if (random.chance(0.3)) entry?.reject();
        else entry?.ack();
      } else if (choice < 0.85) core.declare(`other-${random.below(5)}`);
      else if (choice < 0.9) {
        const other = `other-${random.below(5)}`;
        if (core.vhost.queues.has(other)) core.vhost.deleteQueue(core.client, other, false, false);
      } else if (choice < 0.95) core.journal.put('kind', `key ${random.below(9)}`, Buffer.from([random.below(256)]));
      else core.journal.delete('kind', `key ${random.below(9)}`);
      if (random.chance(0.5)) await core.durable();
    }
    await core.durable();
    const files = disk.contents();
    for (const cut of [0, 1 + random.below(60)]) {
      const { segments } = JSON.parse(files.get('MANIFEST')!.toString()) as { segments: number[] };
      const last = `${String(segments.at(-1)).padStart(10, '0')}.segment`;
      const log = files.get(last)!;
      files.set(last, log.subarray(0, Math.max(32, log.length - cut)));
      expect(byDocument(readJournal(files)), `seed ${seed}`).toEqual(await byBroker(files));
    }
  }
});
