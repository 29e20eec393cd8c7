import type { Access, Credentials } from '../../core/auth.ts';
import { BrokerError } from '../../core/errors.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Connection } from './connection.ts';
import { encodeError, showError } from './errors.ts';
import { encodeFrame, FrameReader, ProtocolError } from './frame.ts';
import type { Stomp } from './protocol.ts';
import { negotiate, type Version, versions } from './versions.ts';

type Headers = ReadonlyMap<string, string>;

/** What CONNECT came to. */
export interface Opened {
  readonly version: Version;
  readonly user: string;
  readonly vhost: Vhost;
  readonly access: Access;
  readonly clientId: string | undefined;
  readonly mechanism: string;
  /** Milliseconds between heart-beats of ours, and of the peer's; 0 = none. */
  readonly sendEveryMs: number;
  readonly expectEveryMs: number;
}

/** A stranger takes no more memory than this, whatever the limits of those who have logged in. */
const strangerBytes = 16 * 1024;

/** A connection before it is one: CONNECT or STOMP, and nothing else. */
export class Handshake implements StreamHandler {
  private readonly stream: Stream;
  private readonly door: Stomp;
  private readonly frame: FrameReader;
  private readonly beganAtMs: number;
  private state: 'awaiting-connect' | 'authenticating' | 'done' = 'awaiting-connect';

  constructor(stream: Stream, door: Stomp) {
    this.stream = stream;
    this.door = door;
    this.beganAtMs = stream.lastReadMs;
    const { headerBytes, headerCount, bodyBytes } = door.options;
    this.frame = new FrameReader({
      headerCount: Math.min(headerCount, 100),
      headerBytes: Math.min(headerBytes, strangerBytes),
      bodyBytes: Math.min(bodyBytes, strangerBytes),
    });
  }

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    while (at < end && (chunk[at] === 0x0a || chunk[at] === 0x0d)) at += 1;
    if (at === end || this.state !== 'awaiting-connect') return at;
    try {
      if (!this.frame.read(chunk, at, end)) {
        this.stream.want = this.frame.want;
        return at;
      }
      this.onFrame();
    } catch (error) {
      this.fail(error);
      return end;
    }
    return this.frame.next;
  }

  private onFrame(): void {
    const { command } = this.frame;
    if (command !== 'CONNECT' && command !== 'STOMP') {
      throw new ProtocolError('Illegal command', 'You must log in using CONNECT first');
    }
    // CONNECT is never escaped, for 1.0's sake [STOMP 1.2 §Value Encoding], and may be as 1.0 spells it
    const headers = this.frame.headers('1.0');
    const version = negotiate(headers.get('accept-version'));
    if (version === undefined) {
      return this.end('Version mismatch', `Supported versions are ${versions.toReversed().join(',')}\n`);
    }
    const beat = parseHeartBeat(headers.get('heart-beat'));
    const login = headers.get('login');
    if (login === undefined && !this.door.options.anonymous) return this.refuse('');
    const credentials: Credentials =
      login === undefined
        ? { mechanism: 'ANONYMOUS', user: '', password: '' }
        : { mechanism: 'PLAIN', user: login, password: headers.get('passcode') ?? '' };
    this.state = 'authenticating';
    this.stream.hold();
    this.authenticate(credentials, version, headers, beat)
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.stream.release());
  }

  private async authenticate(
    credentials: Credentials,
    version: Version,
    headers: Headers,
    [theySend, theyWant]: [number, number],
  ): Promise<void> {
    const { broker, options } = this.door;
    const peer = { address: this.stream.remoteAddress, protocol: 'stomp' };
    const user = await broker.authenticator.authenticate(credentials, peer);
    if (this.state !== 'authenticating') return;
    if (user === null) return this.refuse(credentials.user);
    const vhost = this.findVhost(headers.get('host'));
    const access = vhost === undefined ? null : broker.authenticator.findAccess(user, vhost.name);
    if (vhost === undefined || access === null) {
      return this.end('Bad CONNECT', `Virtual host '${headers.get('host') ?? options.vhost}' access denied`);
    }
    try {
      broker.demandRoom(user, vhost);
      broker.demandChannel(user); // a connection has one, as the API shows it
    } catch (error) {
      if (error instanceof BrokerError) return this.end('Bad CONNECT', error.message);
      throw error;
    }
    this.leave();
    const sendEveryMs = theyWant === 0 ? 0 : Math.max(theyWant, options.heartBeatMs);
    const expectEveryMs = theySend === 0 ? 0 : Math.max(theySend, options.heartBeatMs);
    const connection = new Connection(this.stream, this.door, {
      version,
      user,
      vhost,
      access,
      clientId: headers.get('client-id'),
      mechanism: credentials.mechanism,
      sendEveryMs,
      expectEveryMs,
    });
    this.stream.handler = connection;
    const tokens = [
      `version:${version}`,
      `session:${connection.session}`,
      `heart-beat:${sendEveryMs},${expectEveryMs}`, // [RabbitMQ, ActiveMQ] what will be, not what could be
      `server:RosettaMQ/${options.version}`,
    ];
    this.stream.write(encodeFrame('CONNECTED', tokens));
  }

  // Many clients send the name of the machine: what is no virtual host is the default one, unless that is forbidden.
  private findVhost(host: string | undefined): Vhost | undefined {
    const { broker, options } = this.door;
    const named = broker.vhosts.get(host ?? options.vhost);
    return named === undefined && !options.strictHost ? broker.vhosts.get(options.vhost) : named;
  }

  private refuse(user: string): void {
    this.door.log.info({ peer: this.stream.peer, protocol: 'stomp', user }, 'refused');
    this.end('Bad CONNECT', `Access refused for user '${user}'\n`);
  }

  private fail(error: unknown): void {
    if (this.state === 'done') return;
    const shown = showError(error);
    if (shown === null) this.door.log.error({ peer: this.stream.peer, error }, 'stomp: a fault of ours');
    this.end(shown?.message ?? 'internal_error', shown?.detail ?? 'an error inside the broker');
  }

  private end(message: string, detail: string): void {
    this.leave();
    this.stream.write(encodeError({ message, detail }, [], '1.0'));
    this.stream.end();
  }

  private leave(): void {
    this.state = 'done';
    this.door.handshakes.delete(this);
  }

  onClose(): void {
    this.leave();
  }

  onDrain(): void {}

  onFlush(): void {}

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (nowMs - this.beganAtMs < this.door.options.loginTimeoutMs) return;
    this.door.log.info({ peer: this.stream.peer }, 'stomp: login took too long');
    this.close();
  }

  close(): void {
    if (this.state === 'done') return;
    this.leave();
    this.stream.end();
  }
}

/** @returns what the peer can send and what it wants, in milliseconds */
function parseHeartBeat(text: string | undefined): [number, number] {
  if (text === undefined) return [0, 0];
  const match = /^(\d{1,9}) *, *(\d{1,9})$/.exec(text.trim());
  if (match === null) throw new ProtocolError('Invalid header', `heart-beat '${text}'`);
  return [Number(match[1]), Number(match[2])];
}
