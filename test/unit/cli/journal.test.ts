import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runWords } from '../../../src/cli/command.ts';
import { backup, journal } from '../../../src/cli/journal.ts';
import { openDisk } from '../../../src/storage/disk.ts';
import { findZeros } from '../../../src/storage/segment.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { TestTerminal } from '../../support/test-terminal.ts';

let home: string;
let core: JournaledBroker;
const segment = '0000000001.segment';

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'rosettamq-cli-'));
  core = await JournaledBroker.open(await openDisk(join(home, 'data')));
  core.declare('q');
  core.publish('q', 'a');
  core.publish('q', 'b');
  await core.durable();
  core.get('q')?.ack();
  await core.durable();
});

afterEach(async () => {
  await core.journal.close();
  await rm(home, { recursive: true, force: true });
});

async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const terminal = new TestTerminal();
  const code = await runWords([journal, backup], [...words, '--data-dir', join(home, 'data')], terminal, {});
  return { code, out: terminal.out, err: terminal.err };
}

test('inspect shows what each segment holds', async () => {
  const { code, out } = await run('journal', 'inspect', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    segments: [{ file: segment, units: 2, messages: 2, settlements: 1 }],
    queues: [{ name: 'q', vhost: '/', messages: 1, bytes: 1 }],
    damage: [],
  });
  const { out: text } = await run('journal', 'inspect');
  expect(text).toMatch(/^file .*deletions\n0000000001\.segment/);
  expect(text).toMatch(/\nqueue +vhost +number +messages +bytes\nq +\/ +1 +1 +1\n/);
  expect(text).toMatch(/\nthe log is whole\n$/);
});

test('verify says that the log is whole, or what is wrong where', async () => {
  expect(await run('journal', 'verify')).toMatchObject({ code: 0, out: 'the log is whole: 1 segments, 2 units\n' });
  const path = join(home, 'data', segment);
  const log = await readFile(path);
  await writeFile(path, log.subarray(0, findZeros(log, 0) - 1));
  const { code, err } = await run('journal', 'verify');
  expect(code).toBe(1);
  expect(err).toMatch(
    /0000000001\.segment: torn tail at offset \d+, \d+ octets skipped up to \d+: unit 2 was not closed\n$/,
  );
  await writeFile(path, log);
});

test('export prints every record', async () => {
  const records = (await run('journal', 'export')).out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(records.map(({ record }) => record)).toEqual(['put', 'published', 'published', 'settled']);
  expect(Buffer.from(records[2].body, 'base64').toString()).toBe('b');
});

test('export goes on behind damage, shows where it stands, and ends with 1; salvage makes a directory to start from', async () => {
  const path = join(home, 'data', segment);
  const log = await readFile(path);
  const broken = Buffer.from(log);
  broken[70] = broken[70]! ^ 1;
  await writeFile(path, broken);
  const { code, out, err } = await run('journal', 'export');
  const records = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(code).toBe(1);
  expect(records[0]).toMatchObject({ record: 'damage', file: segment, offset: 32 });
  expect(err).toContain(
    `${segment}: damage at offset 32, ${records[0].end - 32} octets skipped up to ${records[0].end}`,
  );
  const salvaged = await run('journal', 'salvage', join(home, 'salvaged'));
  expect(salvaged.code).toBe(0);
  expect(salvaged.out).toMatch(/damage at offset 32.*\nwrote /);
  const again = await JournaledBroker.open(await openDisk(join(home, 'salvaged')));
  await again.journal.close();
  expect(await run('journal', 'salvage', join(home, 'salvaged'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('is not empty'),
  });
  await writeFile(path, log);
});

test('a backup of a running broker can be started from', async () => {
  const copy = join(home, 'copy');
  expect((await run('backup', copy)).code).toBe(0);
  core.publish('q', 'later');
  await core.durable();
  const again = await JournaledBroker.open(await openDisk(copy));
  expect(again.bodies('q')).toEqual(['b']);
  await again.journal.close();
  expect(await run('backup', copy)).toMatchObject({ code: 1, err: `rosettamq: '${copy}' is not empty\n` });
});
