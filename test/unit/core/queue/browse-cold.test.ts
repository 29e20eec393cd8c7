import { expect, test } from 'vitest';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { createMessage } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

/** Hardly anything stays in memory. */
const paging = { queueBytes: 4_000, bodyBytes: 1e9, heapBytes: 1e9 };
const count = 3000;

async function turns(core: JournaledBroker, many = 60): Promise<void> {
  for (let i = 0; i < many; i++) {
    core.broker.pager?.look();
    core.clock.advance(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function openPaged(): Promise<{ core: JournaledBroker; disk: SimulatedDisk; a: LocalQueue; b: LocalQueue }> {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024, paging });
  const [a, b] = ['a', 'b'].map((name) =>
    core.vhost.declareQueue(core.client, {
      name,
      durable: false,
      autoDelete: false,
      exclusiveTo: null,
      arguments: new Map(),
    }),
  );
  return { core, disk, a: a as LocalQueue, b: b as LocalQueue };
}

async function fill(core: JournaledBroker, name: string): Promise<void> {
  const route = core.vhost.routeFor('', name);
  for (let i = 0; i < count; i++) {
    core.vhost.publish(route, createMessage(`${name}${i}`.padEnd(1000, '.'), { key: name }), null, 0);
    if (i % 500 === 0) await turns(core, 2);
  }
  await turns(core);
}

function named(entries: readonly { message: { body: Buffer } }[]): string[] {
  return entries.map(({ message }) => message.body.toString().replace(/\.+$/, ''));
}

const numbers = (name: string, from = 0): string[] =>
  Array.from({ length: count - from }, (_, i) => `${name}${from + i}`);

test('a browser that reads slowly is shown nothing of another queue that has the places by then', async () => {
  const { core, disk, a, b } = await openPaged();
  await fill(core, 'a');
  expect(a.memoryEntries).toBeLessThan(count / 10);
  const reads: (() => void)[] = [];
  const { open } = disk;
  disk.open = async (name) => {
    const file = await open.call(disk, name);
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const bytes = await file.read(offset, length);
      if (isSlow) await new Promise<void>((resolve) => reads.push(resolve));
      return bytes;
    };
    return { ...file, read };
  };
  let isSlow = true;
  const browsed = a.browse(null, count);
  await turns(core, 5);
  expect(reads).not.toHaveLength(0);
  isSlow = false;
  for (let i = 0; i < count; i++) (await a.get())!.ack();
  await fill(core, 'b');
  for (const resolve of reads) resolve();
  const shown = named(await browsed);
  const [first] = shown;
  expect(first).toMatch(/^a\d+$/); // what was in memory is gone
  expect(shown).toEqual(numbers('a', Number(first!.slice(1))).slice(0, shown.length));
  expect(b.counts.ready).toBe(count);
});

test('what comes back to memory while a browser reads is shown in its place, and what is taken is not missed', async () => {
  const { core, a } = await openPaged();
  await fill(core, 'a');
  const browsed = a.browse(null, count);
  for (let i = 0; i < 100; i++) (await a.get())!.ack();
  const shown = named(await browsed);
  expect(shown.slice(-(count - 100))).toEqual(numbers('a', 100)); // the taken may be there or not
});

test('pages of a browser follow one another, whatever left memory and came back between them', async () => {
  const { core, disk, a } = await openPaged();
  await fill(core, 'a');
  let reads = 0;
  disk.fault = (operation) => {
    if (operation === 'read') reads += 1;
    return null;
  };
  const shown: string[] = [];
  let last = null;
  for (;;) {
    const page = await a.browse(last, 100);
    if (page.length === 0) break;
    shown.push(...named(page));
    last = page.at(-1)!;
  }
  expect(shown).toEqual(numbers('a'));
  expect(reads).toBeLessThan(60); // each page what it shows, not all that is ahead of it
});
