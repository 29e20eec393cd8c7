import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Authenticator, Peer, ScramVerifier } from './auth.ts';

/** As SASL and MQTT name the one mechanism that the users' verifiers are for. */
export const scramMechanism = 'SCRAM-SHA-256';

/** What came of the client's last message: the user, and the server's signature, which proves the server to the client. */
export interface ScramSuccess {
  readonly user: string;
  readonly serverFinal: Buffer;
}

/**
 * The server's side of one SCRAM-SHA-256 exchange [RFC 5802, RFC 7677], without channel binding:
 *
 *     client-first  n,,n=user,r=…              ─►  `first`
 *     server-first  r=… +…,s=salt,i=iterations ◄─
 *     client-final  c=biws,r=…,p=proof         ─►  `final`
 *     server-final  v=signature                ◄─
 *
 * Who does not exist, may not come from there, must wait after wrong proofs, or has no verifier fails at the proof like
 * anybody whose password is wrong.
 */
export class ScramExchange {
  private readonly authenticator: Authenticator;
  private readonly peer: Peer;
  private started: Started | null = null;

  constructor(authenticator: Authenticator, peer: Peer) {
    this.authenticator = authenticator;
    this.peer = peer;
  }

  /**
   * @param userOf the user that a name stands for, where a name may say more than that
   * @returns the server's answer; null for a message that is none, or asks for what is not there
   */
  first(clientFirst: Buffer, userOf: (name: string) => string = (name) => name): Buffer | null {
    const match = /^(([ny]),(?:a=([^,]*))?,)(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/s.exec(
      clientFirst.toString(),
    );
    if (match === null || this.started !== null) return null;
    const [, header = '', , authorization, bare = '', spelled = '', clientNonce = ''] = match;
    const name = unescapeName(spelled);
    if (name === null || name === '') return null;
    if (authorization !== undefined && unescapeName(authorization) !== name) return null; // nobody acts for another
    const user = userOf(name);
    const verifier = this.authenticator.findScram(user);
    const nonce = clientNonce + randomBytes(18).toString('base64');
    const serverFirst = `r=${nonce},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`;
    this.started = { user, verifier, nonce, header, signed: `${bare},${serverFirst}` };
    return Buffer.from(serverFirst);
  }

  /** @returns null when the proof is wrong, or the user is not let in. The exchange is over. */
  final(clientFinal: Buffer): ScramSuccess | null {
    const { started } = this;
    this.started = null;
    if (started === null) return null;
    const match = /^(c=([^,]*),r=([^,]*)(?:,.*)?),p=([^,]*)$/s.exec(clientFinal.toString());
    if (match === null) return null;
    const [, withoutProof = '', binding = '', nonce = '', proof = ''] = match;
    const { user, verifier } = started;
    const isSame = nonce === started.nonce && Buffer.from(binding, 'base64').toString() === started.header;
    const signed = `${started.signed},${withoutProof}`;
    const right = isProof(Buffer.from(proof, 'base64'), verifier.storedKey, signed) && isSame;
    // asked before it is noted: during the pause after wrong proofs a right one is none either
    if (!this.authenticator.admits(user, this.peer)) return null;
    this.authenticator.noteProof(user, this.peer, right);
    if (!right) return null;
    return { user, serverFinal: Buffer.from(`v=${hmac(verifier.serverKey, signed).toString('base64')}`) };
  }
}

interface Started {
  readonly user: string;
  readonly verifier: ScramVerifier;
  readonly nonce: string;
  /** GS2's, which the client repeats as its channel binding. */
  readonly header: string;
  readonly signed: string;
}

/** [RFC 5802 §5.1] `=2C` and `=3D` stand for `,` and `=`; null when another `=` is there. */
function unescapeName(name: string): string | null {
  if (/=(?!2C|3D)/.test(name)) return null;
  return name.replaceAll('=2C', ',').replaceAll('=3D', '=');
}

/** [RFC 5802 §3] ClientKey := ClientProof XOR ClientSignature; its hash must be the StoredKey. */
function isProof(proof: Buffer, storedKey: Buffer, signed: string): boolean {
  const signature = hmac(storedKey, signed);
  if (proof.length !== signature.length) return false;
  const clientKey = Buffer.alloc(signature.length);
  for (let i = 0; i < signature.length; i++) clientKey[i] = proof[i]! ^ signature[i]!;
  return timingSafeEqual(createHash('sha256').update(clientKey).digest(), storedKey);
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
