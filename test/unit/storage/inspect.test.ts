import { expect, test } from 'vitest';
import { inspect } from '../../../src/storage/inspect.ts';
import { findZeros } from '../../../src/storage/segment.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

const segment = '0000000001.segment';

/** Two units: the queue with a, then b with a settled. */
async function twoUnits(): Promise<Map<string, Buffer>> {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  core.publish('q', 'a');
  await core.durable();
  core.publish('q', 'b');
  core.get('q')?.ack();
  await core.durable();
  return disk.contents();
}

test('what a log holds is counted and shown without a change', async () => {
  const contents = await twoUnits();
  const bodies: string[] = [];
  const disk = SimulatedDisk.holding(contents);
  const report = await inspect(disk, { published: (message) => bodies.push(message.body.toString()) });
  expect(report).toEqual({
    segments: [expect.objectContaining({ file: segment, units: 2, messages: 2, settlements: 1, deletions: 0 })],
    queues: [{ id: 1, name: 'q', vhost: '/', messages: 1, bytes: 1 }],
    kinds: { queue: 1 },
    damage: [],
  });
  expect(bodies).toEqual(['a', 'b']);
  expect(disk.contents()).toEqual(contents);
});

test('a torn tail, damage before it, and a missing segment are told apart', async () => {
  const contents = await twoUnits();
  const content = contents.get(segment)!;
  const log = content.subarray(0, findZeros(content, 0)); // room was prepared behind it
  contents.set(segment, log.subarray(0, -1));
  const torn = await inspect(SimulatedDisk.holding(contents));
  expect(torn).toMatchObject({ segments: [{ units: 1 }], damage: [{ kind: 'torn tail' }] });
  const damaged = Buffer.from(log);
  damaged[70] = damaged[70]! ^ 1;
  contents.set(segment, damaged);
  const harmed = await inspect(SimulatedDisk.holding(contents));
  expect(harmed.damage).toMatchObject([
    { kind: 'damage', offset: 32, what: expect.stringContaining('unit 1 is lost') },
  ]);
  contents.delete(segment);
  const missing = await inspect(SimulatedDisk.holding(contents));
  expect(missing.damage).toEqual([
    { kind: 'damage', file: segment, offset: 0, end: 0, what: 'the manifest names it, and it is missing' },
  ]);
});

test('what stands behind damage is read on', async () => {
  const contents = await twoUnits();
  const damaged = Buffer.from(contents.get(segment)!);
  damaged[70] = damaged[70]! ^ 1;
  contents.set(segment, damaged);
  const seen: string[] = [];
  const report = await inspect(SimulatedDisk.holding(contents), {
    published: (message) => seen.push(message.body.toString()),
    damage: ({ offset, end }) => seen.push(`${offset} to ${end}`),
  });
  const { end } = report.damage[0]!;
  expect(seen).toEqual([`32 to ${end}`, 'b']);
  // Its declaration went with the damage, and so did the message that the second unit settles.
  expect(report.queues).toEqual([{ id: 1, name: null, vhost: null, messages: 1, bytes: 1 }]);
});

test('a block that the disk does not give out costs what stands in it', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk, 1024 * 1024);
  core.declare('q');
  for (let i = 0; i < 8; i++) {
    core.publish('q', `${i}`.repeat(3000));
    await core.durable();
  }
  const broken = SimulatedDisk.holding(disk.contents());
  const open = broken.open.bind(broken);
  broken.open = async (name) => {
    const file = await open(name);
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const covered = offset <= 8192 && offset + length > 8192;
      if (covered) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
      return file.read(offset, length);
    };
    return { read, close: () => file.close() };
  };
  const bodies: string[] = [];
  const { damage } = await inspect(broken, { published: ({ body }) => bodies.push(body.toString()[0]!) });
  expect(damage).toHaveLength(1);
  expect(damage[0]!.what).toContain('the disk does not give out 1 blocks (EIO)');
  expect(damage[0]!.offset).toBeLessThanOrEqual(8192);
  expect(damage[0]!.end).toBeGreaterThanOrEqual(12_288);
  expect(bodies.length).toBeLessThan(8);
  expect(bodies.length).toBeGreaterThanOrEqual(5);
});

test('a manifest that cannot be read is damage; every segment that is there counts', async () => {
  const contents = await twoUnits();
  contents.set('MANIFEST', Buffer.from('{"version":1,"segments":[1'));
  const report = await inspect(SimulatedDisk.holding(contents));
  expect(report.damage).toMatchObject([{ kind: 'damage', file: 'MANIFEST', offset: 0 }]);
  expect(report.queues).toMatchObject([{ name: 'q', messages: 1 }]);
});
