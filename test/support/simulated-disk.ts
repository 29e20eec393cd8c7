import { type AppendFile, SyncFailed } from '../../src/storage/append-file.ts';
import type { Disk, ReadFile } from '../../src/storage/disk.ts';
import type { Random } from './random.ts';

const sectorBytes = 512;

/** Of a file: what a program reads back now, and how much of it has been synced. */
interface File {
  content: Buffer;
  synced: number;
  /** Zeros behind it, of room that was prepared. */
  zeros: number;
}

export type Operation =
  | 'list'
  | 'read'
  | 'open'
  | 'create'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'replace'
  | 'remove'
  | 'sync';

/** What an operation comes to; 'short': it does half of its work before it fails. */
export type Fault = { readonly code: string; readonly short?: boolean } | 'hang' | null;

/**
 * A disk that promises no more than a real one: what was not synced may be lost at a crash, or be there in part, sector
 * by sector and in any order; a new name is durable only when the directory was synced.
 */
export class SimulatedDisk implements Disk {
  /** Operations so far, and those that are under way. */
  operations = 0;
  pending = 0;
  /** How many zeros a file holds behind its end after a `writeThrough`. */
  preparedBytes = 0;
  /** Asked before each operation. */
  fault: (operation: Operation, count: number, name: string) => Fault = () => null;
  private readonly files = new Map<string, File>();
  /** The directory as it is on the platter. */
  private entries = new Map<string, File>();

  static holding(files: Iterable<readonly [string, Buffer]>): SimulatedDisk {
    const disk = new SimulatedDisk();
    for (const [name, content] of files) disk.files.set(name, { content, synced: content.length, zeros: 0 });
    disk.entries = new Map(disk.files);
    return disk;
  }

  /** What is there now, as after the death of the process alone. */
  contents(): Map<string, Buffer> {
    return new Map([...this.files].map(([name, file]) => [name, withZeros(file, file.content)]));
  }

  /** What was synced, and nothing else: the least that a loss of power leaves. */
  syncedContents(): Map<string, Buffer> {
    return new Map(
      [...this.entries].map(([name, file]) => [name, withZeros(file, file.content.subarray(0, file.synced))]),
    );
  }

  /** What a loss of power leaves. */
  crash(random: Random): SimulatedDisk {
    const left = new Map<string, File>(this.entries);
    for (const name of new Set([...this.files.keys(), ...this.entries.keys()])) {
      if (this.files.get(name) === this.entries.get(name) || random.chance(0.5)) continue;
      const file = this.files.get(name);
      if (file === undefined) left.delete(name);
      else left.set(name, file);
    }
    const disk = SimulatedDisk.holding([...left].map(([name, file]) => [name, tear(file, random)] as const));
    disk.preparedBytes = this.preparedBytes;
    return disk;
  }

  async list(): Promise<string[]> {
    await this.step('list', '');
    return [...this.files.keys()].sort();
  }

  async read(name: string): Promise<Buffer> {
    await this.step('read', name);
    const file = this.get(name);
    return withZeros(file, file.content);
  }

  async open(name: string): Promise<ReadFile> {
    await this.step('open', name);
    const file = this.get(name);
    return {
      read: async (offset, length) => {
        await this.step('read', name);
        return Buffer.from(file.content.subarray(offset, offset + length));
      },
      close: async () => {},
    };
  }

  async create(name: string): Promise<AppendFile> {
    await this.step('create', name);
    const file: File = { content: Buffer.alloc(0), synced: 0, zeros: 0 };
    this.files.set(name, file);
    const write = async (buffers: readonly Buffer[]): Promise<void> => {
      const bytes = Buffer.concat(buffers);
      await this.step('write', name, () => {
        file.content = Buffer.concat([file.content, bytes.subarray(0, bytes.length >> 1)]);
      });
      file.content = Buffer.concat([file.content, bytes]);
    };
    const datasync = async (): Promise<void> => {
      const { length } = file.content;
      await this.step('datasync', name);
      file.synced = Math.max(file.synced, Math.min(length, file.content.length));
    };
    return {
      write,
      datasync,
      writeThrough: async (buffers) => {
        await write(buffers);
        await datasync().catch((error) => {
          throw new SyncFailed(error);
        });
        file.zeros = this.preparedBytes;
      },
      truncate: async (length) => {
        await this.step('truncate', name);
        file.content = file.content.subarray(0, length);
        file.synced = Math.min(file.synced, length);
        file.zeros = 0;
      },
      close: async () => {
        file.zeros = 0;
      },
    };
  }

  async replace(name: string, content: Buffer): Promise<void> {
    await this.step('replace', name);
    this.files.set(name, { content, synced: content.length, zeros: 0 });
    await this.sync();
  }

  async truncate(name: string, length: number): Promise<void> {
    await this.step('truncate', name);
    const file = this.get(name);
    file.content = file.content.subarray(0, length);
    file.synced = length;
  }

  async remove(name: string): Promise<void> {
    await this.step('remove', name);
    this.files.delete(name);
  }

  async sync(): Promise<void> {
    await this.step('sync', '');
    this.entries = new Map(this.files);
  }

  private async step(operation: Operation, name: string, half?: () => void): Promise<void> {
    this.operations += 1;
    const fault = this.fault(operation, this.operations, name);
    this.pending += 1;
    await new Promise((resolve) => setImmediate(resolve));
    this.pending -= 1;
    if (fault === null) return;
    if (fault === 'hang') {
      if (this.operations % 2 === 0) half?.();
      return new Promise(() => {});
    }
    if (fault.short) half?.();
    throw Object.assign(new Error(`${fault.code}: ${operation} ${name}`), { code: fault.code });
  }

  private get(name: string): File {
    const file = this.files.get(name);
    if (file === undefined) throw Object.assign(new Error(`ENOENT: ${name}`), { code: 'ENOENT' });
    return file;
  }
}

/** The synced beginning, and of the rest any sectors up to any length. */
function tear(file: File, random: Random): Buffer {
  const length = file.synced + random.below(file.content.length - file.synced + 1);
  const content = Buffer.from(file.content.subarray(0, length));
  for (let at = file.synced; at < length; at = (Math.floor(at / sectorBytes) + 1) * sectorBytes) {
    if (random.chance(0.3)) content.fill(0, at, Math.min((Math.floor(at / sectorBytes) + 1) * sectorBytes, length));
  }
  return withZeros(file, content);
}

function withZeros(file: File, content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc(file.zeros)]);
}
