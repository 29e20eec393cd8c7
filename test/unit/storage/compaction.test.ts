import { expect, test } from 'vitest';
import { JournaledBroker } from '../../support/journaled.ts';
import { Random } from '../../support/random.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

const segmentBytes = 8 * 1024;

/** Waits until the journal has nothing to do: all is durable, and compaction is done. */
async function settleDown(core: JournaledBroker, disk: SimulatedDisk): Promise<void> {
  await core.durable();
  for (let before = -1; before !== disk.operations; ) {
    before = disk.operations;
    for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

function bytesOn(disk: SimulatedDisk): number {
  return [...disk.contents().values()].reduce((sum, file) => sum + file.length, 0);
}

test('the space of what is settled comes back, though one old message is never acked', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk, segmentBytes);
  core.declare('old');
  core.declare('q');
  core.publish('old', 'the first');
  await core.durable();
  for (let n = 0; n < 2000; n++) {
    core.publish('q', String(n).padStart(200, '0'));
    await core.durable();
    core.get('q')?.ack();
  }
  await settleDown(core, disk);
  expect(bytesOn(disk)).toBeLessThan(4 * segmentBytes + 1000);
  const again = await JournaledBroker.open(SimulatedDisk.holding(disk.contents()), segmentBytes);
  expect(again.bodies('old')).toEqual(['the first']);
  expect(again.bodies('q')).toEqual([]);
});

test('the space of a deleted queue comes back', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk, segmentBytes);
  core.declare('q');
  for (let n = 0; n < 300; n++) {
    core.publish('q', String(n).padStart(200, '0'));
    if (n % 10 === 0) await core.durable();
  }
  core.vhost.deleteQueue(core.client, 'q', false, false);
  await settleDown(core, disk);
  expect(bytesOn(disk)).toBeLessThan(4 * segmentBytes);
});

test('what was started again and again without traffic does not leave a file each time', async () => {
  let disk = new SimulatedDisk();
  for (let n = 0; n < 30; n++) {
    const core = await JournaledBroker.open(disk, segmentBytes);
    core.declare(`q${n}`);
    await settleDown(core, disk);
    disk = SimulatedDisk.holding(disk.contents());
  }
  expect(disk.contents().size).toBeLessThan(15);
  const core = await JournaledBroker.open(disk, segmentBytes);
  expect(core.vhost.queues.size).toBe(30);
});

test('what fails its checksum is not written anew with one that is right, and the space of others comes back', async () => {
  const before = new SimulatedDisk();
  const filling = await JournaledBroker.open(before, segmentBytes);
  filling.declare('kept');
  filling.declare('q');
  for (let n = 0; n < 400; n++) {
    if (n % 20 === 0) filling.publish('kept', `kept ${n}`.padEnd(200, '.'));
    filling.publish('q', String(n).padStart(200, '0'));
    if (n % 10 === 9) await filling.durable();
  }
  const files = before.contents();
  const disk = SimulatedDisk.holding(files);
  const core = await JournaledBroker.openCold(disk, { segmentBytes });
  const [file, content] = [...files].find(([, octets]) => octets.includes('kept 200'))!;
  content[content.indexOf('kept 200') + 100]! ^= 1; // on the disk
  core.vhost.deleteQueue(core.client, 'q', false, false);
  await settleDown(core, disk);
  expect(disk.contents().get(file)).toEqual(content);
  expect(bytesOn(disk)).toBeLessThan(6 * segmentBytes);
  const again = JournaledBroker.open(SimulatedDisk.holding(disk.contents()), segmentBytes);
  await expect(again).rejects.toThrow(`${file} at offset`);
});

/** What the queues hold, as a model of a few lines: bodies in the order of their publishing. */
type Model = Map<string, string[]>;

function holdings(core: JournaledBroker): Model {
  const model: Model = new Map();
  for (const name of [...core.vhost.queues.keys()].sort()) model.set(name, core.bodies(name));
  return model;
}

const seeds = Number(process.env['SEEDS'] ?? 12); // npm run test:simulation has thousands

test('random programs of publish, ack, purge, delete and restart leave what a model says, in bounded space', {
  timeout: 60_000 + seeds * 500,
}, async () => {
  const base = Number(process.env['SEED'] ?? 1);
  for (let seed = base; seed < base + seeds; seed++) {
    const random = new Random(seed);
    let disk = new SimulatedDisk();
    let core = await JournaledBroker.open(disk, segmentBytes);
    const model: Model = new Map();
    const names = ['a', 'b', 'c', 'd'];
    let number = 0;
    for (let step = 0; step < 120; step++) {
      for (let n = random.below(12); n >= 0; n--) {
        const name = random.pick(names);
        const choice = random.next();
        if (!model.has(name)) {
          const queue = core.declare(name);
          core.vhost.bind(core.client, 'amq.fanout', queue, '', new Map());
          model.set(name, []);
        } else if (choice < 0.45) {
          const body = `${number++}`.padEnd(1 + random.below(600), '.');
          core.publish(name, body);
          model.get(name)!.push(body);
        } else if (choice < 0.6) {
          const body = `${number++}`.padEnd(1 + random.below(600), '.');
          core.publish(name, body, null, 'amq.fanout');
          for (const bodies of model.values()) bodies.push(body);
        } else if (choice < 0.95) {
          const ack = random.below(8);
          for (let i = 0; i <= ack; i++) {
            core.get(name)?.ack();
            model.get(name)!.shift();
          }
        } else if (choice < 0.97) {
          const queue = core.vhost.queues.get(name)!;
          queue.purge();
          model.set(name, []);
        } else {
          core.vhost.deleteQueue(core.client, name, false, false);
          model.delete(name);
        }
      }
      if (random.chance(0.7)) await core.durable();
      if (random.chance(0.06)) {
        if (random.chance(0.5)) await core.durable();
        else await settleDown(core, disk);
        disk = random.chance(0.5) ? SimulatedDisk.holding(disk.contents()) : disk.crash(random);
        core = await JournaledBroker.open(disk, segmentBytes);
      }
    }
    await settleDown(core, disk);
    const { neededBytes } = (core.journal as unknown as { catalog: { neededBytes: number } }).catalog;
    expect(bytesOn(disk), `seed ${seed}`).toBeLessThan(1.5 * neededBytes + 4.5 * segmentBytes);
    const again = await JournaledBroker.open(disk.crash(random), segmentBytes);
    expect(holdings(again), `seed ${seed}`).toEqual(new Map([...model].sort(([a], [b]) => (a < b ? -1 : 1))));
  }
});
