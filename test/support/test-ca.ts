import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Without the openssl command there are no certificates, and nothing over TLS is tested. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of one's own, by the openssl command, in a folder of one's own. */
export class TestCa {
  readonly folder: string;
  readonly cert: string;
  private readonly key: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.folder = folder;
    this.cert = join(folder, 'ca.pem');
    this.key = join(folder, 'ca.key');
    const subject = ['-subj', '/CN=test authority', '-addext', 'basicConstraints=critical,CA:TRUE'];
    openssl('req', '-x509', ...newKey, '-keyout', this.key, '-out', this.cert, '-days', '2', ...subject);
  }

  /**
   * For localhost and 127.0.0.1, under the file names that it is given.
   * @param days how long it holds; below 0: it has ended
   */
  issue(name: string, days = 2): TestCertificate {
    const [cert, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) =>
      join(this.folder, `${name}.${end}`),
    ) as [string, string, string, string];
    openssl('req', ...newKey, '-keyout', key, '-out', request, '-subj', `/CN=${name}`);
    writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
    const signer = ['-CA', this.cert, '-CAkey', this.key, '-CAcreateserial'];
    openssl('x509', '-req', '-in', request, ...signer, '-out', cert, '-days', `${days}`, '-extfile', extensions);
    return { cert, key };
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'ignore'] });
}
