import { X509Certificate } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls';
import type { Logger } from '../lib/log.ts';

export interface TlsOptions {
  /** PEM files; `ca` empty: the authorities that the runtime knows. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly verify: 'none' | 'optional' | 'required';
  readonly minVersion: SecureVersion;
}

/** Editors and certificate tools write several files: they are read when nothing has moved for so long. */
const settleMs = 250;

/** A certificate from files, read again when they change; connections that exist keep the one they began with. */
export class Certificate {
  readonly options: TlsOptions;
  /** Servers, told of a new certificate for the connections to come. */
  readonly followers = new Set<(options: SecureContextOptions) => void>();
  private readonly log: Logger;
  private readonly watchers: FSWatcher[] = [];
  private timer: NodeJS.Timeout | null = null;

  /** @throws an error of the file system or of the certificate */
  constructor(options: TlsOptions, log: Logger) {
    this.options = options;
    this.log = log;
    createSecureContext(this.read());
    const files = [options.cert, options.key, options.ca].filter((file) => file !== '');
    // The folder, not the file: most tools put a new file in the place of the old one.
    for (const folder of new Set(files.map(dirname))) {
      const watched = new Set(files.filter((file) => dirname(file) === folder).map((file) => basename(file)));
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        // A link to a folder that is swapped (Kubernetes' ..data) changes no file by its name.
        if (name === null || watched.has(name) || name.startsWith('..')) this.readSoon();
      });
      watcher.on('error', (error) =>
        log.warn({ folder, reason: error.message }, 'tls: the folder is no longer watched'),
      );
      this.watchers.push(watcher);
    }
  }

  /** Contents of the files, as servers take them. */
  read(): SecureContextOptions {
    const { cert, key, ca, minVersion } = this.options;
    return {
      cert: readFileSync(cert),
      key: readFileSync(key),
      ...(ca === '' ? {} : { ca: readFileSync(ca) }),
      minVersion,
    };
  }

  /** When it expires, or one of its chain does before. */
  get endMs(): number {
    const chain = readFileSync(this.options.cert, 'latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END/g) ?? [];
    return Math.min(...chain.map((pem) => Date.parse(new X509Certificate(`${pem} CERTIFICATE-----`).validTo)));
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    for (const watcher of this.watchers) watcher.close();
  }

  private readSoon(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reload(), settleMs);
    this.timer.unref();
  }

  private reload(): void {
    const { cert } = this.options;
    try {
      const options = this.read();
      createSecureContext(options);
      for (const follow of this.followers) follow(options);
      this.log.info({ cert }, 'tls: certificate read again');
    } catch (error) {
      // Half-written files are not a certificate yet: the old one serves on.
      this.log.warn({ cert, reason: (error as Error).message }, 'tls: certificate not usable, the old one stays');
    }
  }
}
