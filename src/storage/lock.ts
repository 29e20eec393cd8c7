import { link, mkdir, readFile, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const lockName = 'LOCK';

/** Who holds a data directory: enough to tell whether that process still lives. */
interface Holder {
  readonly pid: number;
  /** Clock ticks since the machine started, from /proc; tells a process from a later one of the same number. */
  readonly startTicks: string;
  /** Of the machine's start and of the process numbers: elsewhere the number means nothing. */
  readonly boot: string;
  readonly namespace: string;
}

/** The data directory belongs to another broker that runs. */
export class DirectoryInUse extends Error {
  constructor(directory: string, pid: number) {
    super(`dataDir: '${directory}' is in use by process ${pid}; one broker a data directory`);
  }
}

/**
 * Takes the directory for this process: a file that names its holder. One that a killed process left, on this start
 * of the machine or an earlier one, is taken over.
 * @returns what gives it back
 * @throws DirectoryInUse
 */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, lockName);
  const own = await describe(process.pid);
  const draft = `${path}.${process.pid}`;
  try {
    await writeFile(draft, JSON.stringify(own)); // on a full disk it is made, and stays empty
    while (!(await tryLink(draft, path))) await removeStale(directory, path, own);
  } finally {
    await rm(draft, { force: true });
  }
  return () => rm(path, { force: true });
}

/** A link appears whole or not at all, and never over another. */
async function tryLink(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(directory: string, path: string, own: Holder): Promise<void> {
  const text = await readIfThere(path);
  if (text === undefined) return;
  const holder = parseHolder(text);
  if (holder !== undefined && (await lives(holder, own))) throw new DirectoryInUse(directory, holder.pid);
  // Moved aside, not removed: if another starter was faster, what is moved is its lock, and it gets it back.
  const aside = `${path}.stale.${process.pid}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if ((await readIfThere(aside)) !== text) await tryLink(aside, path);
  await rm(aside, { force: true });
}

async function lives(holder: Holder, own: Holder): Promise<boolean> {
  if (holder.boot !== own.boot || holder.namespace !== own.namespace || holder.pid === own.pid) return false;
  const now = await describe(holder.pid).catch(() => undefined);
  return now !== undefined && now.startTicks === holder.startTicks;
}

async function describe(pid: number): Promise<Holder> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '');
  if (boot === '') process.kill(pid, 0); // no /proc: the number alone has to do
  const stat = boot === '' ? '' : await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name of the program, in parentheses, may hold anything: fields are counted behind it.
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return { pid, startTicks, boot: boot.trim(), namespace };
}

function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Holder;
    return Number.isInteger(holder.pid) ? holder : undefined;
  } catch {
    return undefined;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
