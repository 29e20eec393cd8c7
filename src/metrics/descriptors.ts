import { readdir, readFile } from 'node:fs/promises';

/** File descriptors of this process. */
export interface Descriptors {
  readonly used: number;
  readonly limit: number;
}

/** @returns null where the system does not tell */
export async function countDescriptors(): Promise<Descriptors | null> {
  try {
    const [open, limits] = await Promise.all([readdir('/proc/self/fd'), readFile('/proc/self/limits', 'latin1')]);
    const limit = Number(/^Max open files +(\d+)/m.exec(limits)?.[1]);
    return Number.isNaN(limit) ? null : { used: open.length, limit };
  } catch {
    return null;
  }
}
