import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openDisk } from './disk.ts';
import { manifestName, readManifest, writeManifest } from './manifest.ts';
import { segmentName } from './segment.ts';

const attemptsMax = 10;

/**
 * Copies the journal in `source` to `target`, a directory that is empty or not there, while a broker writes to it: all that
 * was confirmed before the call is in the copy. Segments only grow at their end, so that the last one may be copied
 * in the middle of a unit: that is a torn tail, which the start on the copy cuts off.
 * @returns the names of the files copied
 * @throws Error when `target` holds something, or the log is rewritten faster than it can be copied
 */
export async function backup(source: string, target: string): Promise<string[]> {
  await mkdir(target, { recursive: true });
  if ((await readdir(target)).length > 0) throw new Error(`'${target}' is not empty`);
  const from = await openDisk(source);
  const to = await openDisk(target);
  const copied = new Set<string>();
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const epochs = await readManifest(from);
    if (!(await copySegments(source, target, epochs, copied))) continue; // one was deleted meanwhile: its space came back
    for (const name of copied) await to.truncate(name, (await to.read(name)).length); // makes it durable
    await to.sync();
    await writeManifest(to, epochs);
    for (const name of copied) if (!epochs.some((epoch) => segmentName(epoch) === name)) await to.remove(name);
    return [...epochs.map(segmentName), manifestName];
  }
  throw new Error(`the log in '${source}' changes faster than it can be copied`);
}

/** @returns false when one of them is not there any longer */
async function copySegments(
  source: string,
  target: string,
  epochs: readonly number[],
  copied: Set<string>,
): Promise<boolean> {
  for (const name of epochs.map(segmentName)) {
    try {
      await copyFile(join(source, name), join(target, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    copied.add(name);
  }
  return true;
}
