import type { Disk } from './disk.ts';
import { anotherVersion, isSegmentName, JournalDamage, segmentHeaderBytes } from './segment.ts';

/** The file that says which segments count, in their order. */
export const manifestName = 'MANIFEST';

export async function writeManifest(disk: Disk, epochs: readonly number[]): Promise<void> {
  await disk.replace(manifestName, Buffer.from(`${JSON.stringify({ version: 1, segments: epochs })}\n`, 'utf8'));
}

/** @throws JournalDamage when it cannot be read, or is missing beside segments that hold something */
export async function readManifest(disk: Disk): Promise<number[]> {
  const names = await disk.list();
  if (!names.includes(manifestName)) {
    // The first segment is made before the first manifest, and holds nothing until then.
    for (const name of names.filter(isSegmentName)) {
      const { length } = await disk.read(name);
      if (length > segmentHeaderBytes) throw new JournalDamage(manifestName, 0, `it is missing, and there is ${name}`);
    }
    return [];
  }
  const text = (await disk.read(manifestName)).toString('utf8');
  let manifest: { version?: unknown; segments?: unknown };
  try {
    manifest = JSON.parse(text);
  } catch {
    throw new JournalDamage(manifestName, 0, 'it is not JSON');
  }
  const { version, segments } = manifest;
  if (version !== 1) {
    throw new JournalDamage(manifestName, 0, `its version is ${version}, this program reads version 1`, anotherVersion);
  }
  if (!isAscending(segments)) throw new JournalDamage(manifestName, 0, 'it does not list segments in their order');
  return segments;
}

function isAscending(segments: unknown): segments is number[] {
  if (!Array.isArray(segments)) return false;
  return segments.every((epoch, i) => Number.isSafeInteger(epoch) && epoch > (i === 0 ? 0 : segments[i - 1]));
}
