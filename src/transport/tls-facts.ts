import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/** What protects a connection, in the words of its cipher suite, as RabbitMQ shows it. */
export interface TlsFacts {
  /** `tlsv1.3` */
  readonly protocol: string;
  /** `ecdhe_rsa`; `any` where the suite does not say */
  readonly keyExchange: string;
  /** `aes_256_gcm` */
  readonly cipher: string;
  /** `sha256`; `aead` where the cipher authenticates by itself */
  readonly hash: string;
  /** Verified or not; null when the peer has shown none. */
  readonly peerCertificate: { readonly subject: string; readonly issuer: string; readonly validity: string } | null;
}

/** @returns null for a socket that is gone */
export function describeTls(socket: TLSSocket): TlsFacts | null {
  const protocol = socket.getProtocol();
  if (protocol === null) return null;
  return {
    protocol: protocol.toLowerCase(),
    ...readSuite(socket.getCipher().standardName),
    peerCertificate: readCertificate(socket.getPeerX509Certificate()),
  };
}

/** @param suite IANA's name: `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, of TLS 1.3 `TLS_AES_256_GCM_SHA384` */
export function readSuite(suite: string): Pick<TlsFacts, 'keyExchange' | 'cipher' | 'hash'> {
  const name = suite.replace(/^TLS_/, '').toLowerCase();
  const [keyExchange, rest] = name.includes('_with_') ? (name.split('_with_') as [string, string]) : ['any', name];
  const cut = rest.lastIndexOf('_');
  const [cipher, hash] = [rest.slice(0, cut), rest.slice(cut + 1)];
  return { keyExchange, cipher, hash: /gcm|ccm|poly1305/.test(cipher) ? 'aead' : hash };
}

function readCertificate(certificate: X509Certificate | undefined): TlsFacts['peerCertificate'] {
  if (certificate === undefined) return null;
  const { subject, issuer, validFrom, validTo } = certificate;
  return {
    subject: readName(subject),
    issuer: readName(issuer),
    validity: `${readTime(validFrom)} - ${readTime(validTo)}`,
  };
}

// A line a part, the most general one first.
function readName(lines: string | undefined): string {
  return (lines ?? '').split('\n').reverse().join(',');
}

function readTime(text: string): string {
  return new Date(text).toISOString().replace('.000Z', 'Z');
}
