import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { PreparedFile } from '../../../src/storage/prepared-file.ts';
import { Random } from '../../support/random.ts';

const directories: string[] = [];

async function create(): Promise<{ path: string; file: PreparedFile }> {
  const directory = await mkdtemp(join(tmpdir(), 'rosettamq-file-'));
  directories.push(directory);
  const path = join(directory, 'log');
  return { path, file: await PreparedFile.create(path) };
}

afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
});

test('groups of any size, written and written through in any order, stand behind one another', async () => {
  const random = new Random(7);
  const { path, file } = await create();
  let expected = Buffer.alloc(0);
  for (let i = 0; i < 300; i++) {
    const size = random.pick([1, 100, 5000, 60_000, 70_000, 600_000]);
    const group = Buffer.alloc(size, 1 + (i % 255));
    const buffers = [group.subarray(0, size >> 1), group.subarray(size >> 1)];
    if (random.chance(0.8)) await file.writeThrough(buffers);
    else await file.write(buffers);
    expected = Buffer.concat([expected, group]);
    if (random.chance(0.05)) {
      expected = expected.subarray(0, expected.length - random.below(size));
      await file.truncate(expected.length);
    }
    if (expected.length > 8_000_000) expected = await restart(file, expected);
  }
  const content = await readFile(path);
  expect(content.subarray(0, expected.length).equals(expected)).toBe(true);
  expect(content.subarray(expected.length).every((octet) => octet === 0)).toBe(true);
  await file.close();
  expect((await readFile(path)).equals(expected)).toBe(true);
});

async function restart(file: PreparedFile, content: Buffer): Promise<Buffer<ArrayBuffer>> {
  await file.truncate(1_000_000);
  return Buffer.from(content.subarray(0, 1_000_000));
}

test('small groups that are written through find room prepared, and it is given back', async () => {
  const { path, file } = await create();
  const group = Buffer.alloc(100, 1);
  for (let i = 0; i < 100; i++) await file.writeThrough([group]);
  await file.truncate(10_000); // waits for what is being prepared
  expect((await stat(path)).size).toBe(10_000);
  await file.writeThrough([group]);
  await file.close();
  expect((await stat(path)).size).toBe(10_100);
});

test('there is no second file of one name', async () => {
  const { path } = await create();
  await expect(PreparedFile.create(path)).rejects.toThrow(/EEXIST/);
});
