import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DirectoryInUse, lockDirectory } from '../../../src/storage/lock.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rosettamq-lock-'));
});

afterEach(() => rm(directory, { recursive: true }));

const lockModule = new URL('../../../src/storage/lock.ts', import.meta.url).href;

/** Another process that holds the lock until it is killed. */
async function holdElsewhere(): Promise<{ pid: number; kill(): Promise<unknown> }> {
  const program = `const { lockDirectory } = await import(${JSON.stringify(lockModule)});
    await lockDirectory(${JSON.stringify(directory)}); console.log('held'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    pid: child.pid!,
    kill() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      return ended;
    },
  };
}

test('a directory is taken once; the error names the holder, and what it left when it was killed is taken over', async () => {
  const other = await holdElsewhere();
  await expect(lockDirectory(directory)).rejects.toThrow(new DirectoryInUse(directory, other.pid));
  await other.kill();
  const unlock = await lockDirectory(directory);
  expect(JSON.parse(await readFile(join(directory, 'LOCK'), 'utf8')).pid).toBe(process.pid);
  await unlock();
  expect(await readdir(directory)).toEqual([]);
});

test('a lock from before the machine started again, of a number that another process has now, is taken over', async () => {
  const other = await holdElsewhere();
  const path = join(directory, 'LOCK');
  const holder = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...holder, startTicks: '1' }));
  await (await lockDirectory(directory))();
  await writeFile(path, JSON.stringify({ ...holder, boot: 'another' }));
  await (await lockDirectory(directory))();
  await writeFile(path, '{"torn');
  await (await lockDirectory(directory))();
  await other.kill();
});
