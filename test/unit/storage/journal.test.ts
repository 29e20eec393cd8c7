import { expect, test } from 'vitest';
import { createMessage } from '../../support/core.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { type Fault, SimulatedDisk } from '../../support/simulated-disk.ts';

/** What became of publishes, by their tags. */
class Receipts {
  readonly confirmedTags: number[] = [];
  readonly refusedTags: number[] = [];

  confirmed(tag: number): void {
    this.confirmedTags.push(tag);
  }

  refused(tag: number): void {
    this.refusedTags.push(tag);
  }
}

async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

function publish(core: JournaledBroker, body: string, receipts: Receipts, tag: number): void {
  const route = core.vhost.routeFor('', 'q');
  core.vhost.publish(route, createMessage(body, { durable: true, key: 'q' }), receipts, tag);
}

async function reopen(disk: SimulatedDisk): Promise<string[]> {
  return (await JournaledBroker.open(SimulatedDisk.holding(disk.contents()))).bodies('q');
}

test('a message that is settled before its group is written is never written, and is confirmed', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  await core.durable();
  const before = core.journal.bytes;
  const receipts = new Receipts();
  publish(core, 'brief', receipts, 7);
  core.get('q')?.ack();
  await core.durable();
  expect(receipts.confirmedTags).toEqual([7]);
  expect(core.journal.bytes).toBe(before);
});

test('a message settled while its group is being written does not return', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  await core.durable();
  let acked = false;
  disk.fault = (operation) => {
    if (operation === 'datasync' && !acked) {
      acked = true;
      core.get('q')?.ack();
    }
    return null;
  };
  publish(core, 'a', new Receipts(), 1);
  await core.durable();
  await core.durable();
  expect(acked).toBe(true);
  expect(await reopen(disk)).toEqual([]);
});

test('a publish, or an ack, counts only when its sync is done', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  await core.durable();
  disk.fault = (operation): Fault => (operation === 'datasync' ? 'hang' : null);
  const receipts = new Receipts();
  publish(core, 'a', receipts, 1);
  await turns();
  expect(receipts.confirmedTags).toEqual([]);
  expect(core.journal.backlogBytes).toBeGreaterThan(0);
});

for (const code of ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO']) {
  for (const short of [false, true]) {
    test(`${code} from a ${short ? 'short ' : ''}write refuses durable publishes until there is room, and loses nothing`, async () => {
      const disk = new SimulatedDisk();
      const core = await JournaledBroker.open(disk);
      core.declare('q');
      const receipts = new Receipts();
      publish(core, 'before', receipts, 1);
      await core.durable();
      disk.fault = (operation) => (operation === 'write' ? { code, short } : null);
      publish(core, 'caught', receipts, 2);
      await turns();
      expect(core.journal.writable).toBe(false);
      publish(core, 'refused', receipts, 3);
      core.vhost.publish(core.vhost.routeFor('', 'q'), createMessage('transient', { key: 'q' }), receipts, 4);
      expect(receipts).toEqual({ confirmedTags: [1, 4], refusedTags: [2, 3] });
      // Consumers go on meanwhile.
      core.get('q')?.ack();
      core.clock.advance(1000);
      await turns();
      expect(core.journal.writable).toBe(false);
      disk.fault = () => null;
      core.clock.advance(1000);
      await core.durable();
      expect(core.journal.writable).toBe(true);
      publish(core, 'after', receipts, 5);
      await core.durable();
      expect(receipts).toEqual({ confirmedTags: [1, 4, 5], refusedTags: [2, 3] });
      expect(await reopen(disk)).toEqual(['caught', 'after']);
    });
  }
}

test('no room for a new segment is waited for like any other', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk, 1024);
  core.declare('q');
  const receipts = new Receipts();
  publish(core, 'x'.repeat(1024), receipts, 1);
  await core.durable();
  disk.fault = (operation) => (operation === 'create' || operation === 'replace' ? { code: 'ENOSPC' } : null);
  publish(core, 'y', receipts, 2);
  await turns();
  expect(receipts.refusedTags).toEqual([2]);
  disk.fault = () => null;
  core.clock.advance(1000);
  await core.durable();
  expect(await reopen(disk)).toEqual(['x'.repeat(1024), 'y']);
});

test('a segment that a manifest may name is not made anew, though the manifest seemed to fail', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk, 1024);
  core.declare('q');
  publish(core, 'x'.repeat(1024), new Receipts(), 1);
  await core.durable();
  let isNamed = false;
  disk.fault = (operation) => {
    if (operation === 'replace') isNamed = true;
    return isNamed && operation === 'sync' ? { code: 'EIO' } : null;
  };
  publish(core, 'y', new Receipts(), 2);
  await turns();
  expect(core.journal.writable).toBe(false);
  disk.fault = (operation) => (operation === 'write' ? 'hang' : null);
  core.clock.advance(1000);
  await turns();
  expect(await reopen(disk)).toEqual(['x'.repeat(1024)]);
});

test('after a failed sync nothing is confirmed, and the file is never synced again', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  const receipts = new Receipts();
  publish(core, 'before', receipts, 1);
  await core.durable();
  let syncs = 0;
  disk.fault = (operation) => {
    if (operation !== 'datasync') return null;
    syncs += 1;
    return { code: 'EIO' };
  };
  publish(core, 'caught', receipts, 2);
  await turns();
  publish(core, 'refused', receipts, 3);
  core.clock.advance(10_000);
  await turns();
  await core.journal.close();
  expect(syncs).toBe(1);
  expect(receipts).toEqual({ confirmedTags: [1], refusedTags: [2, 3] });
});

test('close makes everything durable', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  publish(core, 'a', new Receipts(), 1);
  await core.journal.close();
  expect(await reopen(disk)).toEqual(['a']);
});

test('close on a full disk gives up instead of waiting for ever', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  await core.durable();
  disk.fault = (operation) => (operation === 'write' ? { code: 'ENOSPC' } : null);
  const receipts = new Receipts();
  publish(core, 'a', receipts, 1);
  await turns();
  const closed = core.journal.close();
  core.clock.advance(1000);
  await closed;
  expect(receipts.confirmedTags).toEqual([]);
});
