import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Disk, openDisk } from './disk.ts';
import { manifestName, readManifest, writeManifest } from './manifest.ts';
import { findEnd, findProofOf, JournalDamage, segmentName } from './segment.ts';

const attemptsMax = 10;

/**
 * Copies the journal in `source` to `target`, a directory that is empty or not there, while a broker writes to it: all that
 * was confirmed before the call is in the copy, whose last segment ends with a whole unit.
 * @returns the names of the files copied
 * @throws Error when `target` holds something, or the log is rewritten faster than it can be copied
 * @throws JournalDamage of the last segment: a copy of it would not start
 */
export async function backup(source: string, target: string): Promise<string[]> {
  await mkdir(target, { recursive: true });
  if ((await readdir(target)).length > 0) throw new Error(`'${target}' is not empty`);
  const from = await openDisk(source);
  const to = await openDisk(target);
  const copied = new Set<string>();
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const epochs = await readManifest(from);
    if (!(await copySegments(from, source, target, epochs, copied))) continue; // one was deleted meanwhile: its space came back
    for (const name of copied) await to.truncate(name, (await to.read(name)).length); // makes it durable
    await to.sync();
    await writeManifest(to, epochs);
    for (const name of copied) if (!epochs.some((epoch) => segmentName(epoch) === name)) await to.remove(name);
    return [...epochs.map(segmentName), manifestName];
  }
  throw new Error(`the log in '${source}' changes faster than it can be copied`);
}

/**
 * The segment that is written to, up to its last whole unit. What was written into the room ahead of its end while it was read
 * may be there without what was written before: that is read again.
 * @throws JournalDamage
 */
export async function readTail(disk: Disk, epoch: number): Promise<Buffer> {
  const name = segmentName(epoch);
  const file = await disk.open(name);
  try {
    const content = await disk.read(name);
    let { end, unit } = findEnd(content, epoch);
    while (findProofOf(unit, content, end, epoch) !== undefined) {
      (await file.read(end, content.length - end)).copy(content, end);
      const before = end;
      ({ end, unit } = findEnd(content, epoch));
      if (end === before) throw new JournalDamage(name, end, 'a batch fails its checksum');
    }
    return content.subarray(0, end);
  } finally {
    await file.close();
  }
}

/** @returns false when one of them is not there any longer */
async function copySegments(
  from: Disk,
  source: string,
  target: string,
  epochs: readonly number[],
  copied: Set<string>,
): Promise<boolean> {
  for (const epoch of epochs) {
    const name = segmentName(epoch);
    try {
      if (epoch === epochs.at(-1)) await writeFile(join(target, name), await readTail(from, epoch));
      else await copyFile(join(source, name), join(target, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    copied.add(name);
  }
  return true;
}
