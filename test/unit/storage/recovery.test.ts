import { expect, test } from 'vitest';
import { JournaledBroker } from '../../support/journaled.ts';
import { Random } from '../../support/random.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

/** Three units: the queue with a, then b to d with a settled, then e. */
async function threeUnits(preparedBytes = 0): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  disk.preparedBytes = preparedBytes;
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  core.publish('q', 'a');
  await core.durable();
  for (const body of ['b', 'c', 'd']) core.publish('q', body);
  core.get('q')?.ack();
  await core.durable();
  core.publish('q', 'e');
  await core.durable();
  return disk;
}

const segment = '0000000001.segment';
const states = [[], ['a'], ['b', 'c', 'd'], ['b', 'c', 'd', 'e']];

test('what was durable is there again, once and in order, and what was settled is not', async () => {
  const core = await JournaledBroker.open(SimulatedDisk.holding((await threeUnits()).contents()));
  expect(core.bodies('q')).toEqual(['b', 'c', 'd', 'e']);
});

test('a short record at the end of its unit is read behind one with a long routing key', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.vhost.bind(core.client, 'amq.fanout', core.declare('q'), '', new Map());
  core.publish('x'.repeat(250), 'a', null, 'amq.fanout');
  await core.durable();
  core.publish('q', 'b');
  await core.durable();
  expect((await JournaledBroker.open(SimulatedDisk.holding(disk.contents()))).bodies('q')).toEqual(['a', 'b']);
});

test('a log cut at any octet opens to the state after one of its units, never a later one than a longer cut', {
  timeout: 60_000,
}, async () => {
  const contents = (await threeUnits()).contents();
  const log = contents.get(segment)!;
  let reached = 0;
  for (let length = 32; length <= log.length; length++) {
    contents.set(segment, log.subarray(0, length));
    const core = await JournaledBroker.open(SimulatedDisk.holding(contents));
    const bodies = JSON.stringify(core.bodies('q'));
    const state = states.findIndex((each) => JSON.stringify(each) === bodies);
    expect(state).toBeGreaterThanOrEqual(reached);
    reached = state;
  }
  expect(reached).toBe(3);
});

test('a log with any octet changed stops the start, or loses its last unit alone', async () => {
  const contents = (await threeUnits()).contents();
  const log = contents.get(segment)!;
  for (let at = 0; at < log.length; at++) {
    const changed = Buffer.from(log);
    changed[at] = changed[at]! ^ 0x10;
    contents.set(segment, changed);
    const bodies = await JournaledBroker.open(SimulatedDisk.holding(contents)).then(
      (core) => core.bodies('q'),
      (error) => (error as Error).message,
    );
    // The header's last four octets mean nothing.
    if (at >= 28 && at < 32) expect(bodies).toEqual(states[3]);
    else if (typeof bodies === 'string') expect(bodies).toMatch(/^journal damaged: 0000000001.segment at offset \d+: /);
    else expect(bodies).toEqual(states[2]);
  }
});

test('after a torn tail was cut, the log goes on behind it and opens again', async () => {
  const contents = (await threeUnits()).contents();
  contents.set(segment, contents.get(segment)!.subarray(0, -1));
  const disk = SimulatedDisk.holding(contents);
  const core = await JournaledBroker.open(disk);
  core.publish('q', 'f');
  await core.durable();
  const again = await JournaledBroker.open(SimulatedDisk.holding(disk.contents()));
  expect(again.bodies('q')).toEqual(['b', 'c', 'd', 'f']);
});

test('zeros of room that was prepared end the last segment as its end does, and are cut off', async () => {
  const disk = SimulatedDisk.holding((await threeUnits(1000)).contents());
  const bytes = disk.contents().get(segment)!.length;
  const core = await JournaledBroker.open(disk);
  expect(core.bodies('q')).toEqual(['b', 'c', 'd', 'e']);
  expect(disk.contents().get(segment)).toHaveLength(bytes - 1000);
});

test('a unit that is torn ahead of such zeros is cut off', async () => {
  const contents = (await threeUnits(1000)).contents();
  const log = contents.get(segment)!;
  log.fill(0, log.length - 1010);
  const core = await JournaledBroker.open(SimulatedDisk.holding(contents));
  expect(core.bodies('q')).toEqual(['b', 'c', 'd']);
});

test('zeros at the end of a segment that others follow are damage: it was cut to its length before', async () => {
  const disk = await threeUnits();
  await (await JournaledBroker.open(disk)).durable();
  const contents = disk.contents();
  contents.set(segment, Buffer.concat([contents.get(segment)!, Buffer.alloc(1000)]));
  await expect(JournaledBroker.open(SimulatedDisk.holding(contents))).rejects.toThrow(/a batch fails its checksum/);
});

test('a segment that the manifest names and that is missing stops the start', async () => {
  const contents = (await threeUnits()).contents();
  contents.delete(segment);
  await expect(JournaledBroker.open(SimulatedDisk.holding(contents))).rejects.toThrow(
    /0000000001.segment at offset 0: the manifest names it, and it is missing/,
  );
});

test('a missing manifest beside a log stops the start', async () => {
  const contents = (await threeUnits()).contents();
  contents.delete('MANIFEST');
  await expect(JournaledBroker.open(SimulatedDisk.holding(contents))).rejects.toThrow(/MANIFEST .* is missing/);
});

test('a format of another version is refused by its number', async () => {
  const contents = (await threeUnits()).contents();
  contents.get(segment)!.writeUInt32BE(99, 8);
  await expect(JournaledBroker.open(SimulatedDisk.holding(contents))).rejects.toThrow(/format is version 99/);
});

const seeds = Number(process.env['SEEDS'] ?? 60); // npm run test:simulation has thousands

test('a crash at any operation of the disk, with unsynced sectors lost, loses nothing that was confirmed', {
  timeout: 60_000 + seeds * 500,
}, async () => {
  for (let seed = 0; seed < seeds; seed++) {
    const random = new Random(seed);
    const disk = new SimulatedDisk();
    const crashAt = 3 + random.below(60);
    disk.fault = (_, count) => (count >= crashAt ? 'hang' : null);
    const confirmed = await publishUntilCrash(disk, random, crashAt);
    const after = await JournaledBroker.open(disk.crash(random)).catch((error) => {
      throw new Error(`seed ${seed}: ${error.message}`);
    });
    const found = after.bodies('q').map(Number);
    const missing = [...confirmed.published].filter((n) => !found.includes(n) && !confirmed.tried.has(n));
    const risen = found.filter((n) => confirmed.settled.has(n));
    expect({ seed, missing, risen }).toEqual({ seed, missing: [], risen: [] });
    expect(found, `seed ${seed}`).toEqual(found.toSorted((a, b) => a - b));
    expect(new Set(found).size, `seed ${seed}`).toBe(found.length);
  }
});

interface Promised {
  /** Confirmed to be kept. */
  readonly published: Set<number>;
  /** Acked, and perhaps durably so. */
  readonly tried: Set<number>;
  /** Acked, and confirmed to be. */
  readonly settled: Set<number>;
}

async function publishUntilCrash(disk: SimulatedDisk, random: Random, crashAt: number): Promise<Promised> {
  const promised: Promised = { published: new Set(), tried: new Set(), settled: new Set() };
  let core: JournaledBroker | undefined;
  JournaledBroker.open(disk, 2048).then((opened) => {
    core = opened;
    core.declare('q');
  });
  let next = 0;
  for (let turn = 0; turn < 400 && disk.operations < crashAt; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (core === undefined || core.vhost.queues.get('q') === undefined) continue;
    for (let n = random.below(4); n > 0; n--) {
      const number = next++;
      core.publish('q', String(number).padStart(1 + random.below(300), '0'), {
        confirmed: () => promised.published.add(number),
        refused() {},
      });
    }
    for (let n = random.below(3); n > 0; n--) {
      const entry = core.get('q');
      if (entry === undefined) break;
      const number = Number(entry.message.body.toString());
      promised.tried.add(number);
      entry.ack();
      core.journal.whenDurable(core.journal.position, () => promised.settled.add(number));
    }
  }
  return promised;
}
