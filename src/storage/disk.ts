import { type FileHandle, mkdir, open, readdir, rename, rm, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppendFile } from './append-file.ts';
import { PreparedFile } from './prepared-file.ts';

/** A file that is read from in places. */
export interface ReadFile {
  /** @returns octets of the caller's own: fewer than `length` where the file ends */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** One directory, so that tests can put a failing one in its place. */
export interface Disk {
  list(): Promise<string[]>;
  read(name: string): Promise<Buffer>;
  /** The file stays readable until it is closed, though it be removed. */
  open(name: string): Promise<ReadFile>;
  /** A new, empty file; one of the same name that a crash left half made is replaced. */
  create(name: string): Promise<AppendFile>;
  /** Replaces a small file as a whole: after a crash there is the old one or the new one. */
  replace(name: string, content: Buffer): Promise<void>;
  truncate(name: string, length: number): Promise<void>;
  remove(name: string): Promise<void>;
  /** Makes the directory's entries durable. */
  sync(): Promise<void>;
}

export async function openDisk(directory: string): Promise<Disk> {
  await mkdir(directory, { recursive: true });
  return new FileDisk(directory);
}

/** Octets that the directory's disk has left for us. */
export async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

async function readRange(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const content = Buffer.allocUnsafeSlow(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await file.read(content, read, length - read, offset + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return content.subarray(0, read);
}

class FileDisk implements Disk {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  async list(): Promise<string[]> {
    return (await readdir(this.directory)).sort();
  }

  async read(name: string): Promise<Buffer> {
    const file = await open(join(this.directory, name), 'r');
    try {
      // In one piece: readFile puts a large file together from many.
      return await readRange(file, 0, (await file.stat()).size);
    } finally {
      await file.close();
    }
  }

  async open(name: string): Promise<ReadFile> {
    const handle = await open(join(this.directory, name), 'r');
    return {
      read: (offset, length) => readRange(handle, offset, length),
      close: () => handle.close(),
    };
  }

  async create(name: string): Promise<AppendFile> {
    const path = join(this.directory, name);
    await rm(path, { force: true });
    return PreparedFile.create(path);
  }

  async replace(name: string, content: Buffer): Promise<void> {
    const draft = join(this.directory, `${name}.new`);
    const file = await open(draft, 'w');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, join(this.directory, name));
    await this.sync();
  }

  async truncate(name: string, length: number): Promise<void> {
    const file = await open(join(this.directory, name), 'r+');
    try {
      await file.truncate(length);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  remove(name: string): Promise<void> {
    return unlink(join(this.directory, name));
  }

  async sync(): Promise<void> {
    const directory = await open(this.directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}
