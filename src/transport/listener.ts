import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { type Handle, isHandle } from './handle.ts';
import type { Protocol } from './protocol.ts';
import { type Remote, Stream } from './stream.ts';
import type { Certificate } from './tls.ts';
import { describeTls } from './tls-facts.ts';
import { WebSocketDoor, type WebSocketOptions } from './websocket.ts';

export interface ListenerOptions {
  /** undefined: every interface. */
  readonly host: string | undefined;
  readonly port: number;
}

export interface ListenerParts {
  readonly protocol: Protocol;
  readonly clock: Clock;
  readonly log: Logger;
  /** Connections from one address at most; shared by all listeners that are given it. */
  readonly addresses: AddressLimit;
  /** null: the octets come as they are. */
  readonly certificate: Certificate | null;
  /** null: a connection's octets are the protocol's; else they are WebSocket's. */
  readonly webSocket: WebSocketOptions | null;
}

/** Counts connections by address, before anybody has logged in. */
export class AddressLimit {
  private readonly counts = new Map<string, number>();
  private readonly max: number;

  constructor(max: number) {
    this.max = max;
  }

  /** @returns false when the address has as many as it may */
  enter(address: string): boolean {
    const count = this.counts.get(address) ?? 0;
    if (count >= this.max) return false;
    this.counts.set(address, count + 1);
    return true;
  }

  leave(address: string): void {
    const count = (this.counts.get(address) ?? 1) - 1;
    if (count === 0) this.counts.delete(address);
    else this.counts.set(address, count);
  }
}

/** A handshake of TLS or WebSocket that takes longer is given up. */
const handshakeMs = 10_000;

/** One buffer for all sockets: a read is handled before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

/** A port, what its octets are wrapped in, and the protocol spoken on it. */
export class Listener {
  readonly server: Server;
  private readonly parts: ListenerParts;
  private readonly streams = new Set<Stream>();

  constructor(parts: ListenerParts) {
    this.parts = parts;
    this.server = this.createServer(parts);
  }

  private createServer({ certificate, webSocket }: ListenerParts): Server {
    if (webSocket === null && certificate === null) {
      return createServer({ pauseOnConnect: true, noDelay: true, allowHalfOpen: true }, (socket) =>
        this.accept(socket),
      );
    }
    const secure =
      certificate === null
        ? {}
        : {
            ...certificate.read(),
            requestCert: certificate.options.verify !== 'none',
            rejectUnauthorized: certificate.options.verify === 'required',
            handshakeTimeout: handshakeMs,
            noDelay: true,
          };
    if (webSocket === null) {
      const server = createTlsServer({ ...secure, allowHalfOpen: true }, (socket) => this.acceptSecure(socket));
      return this.follow(server);
    }
    const server = certificate === null ? createHttpServer({ noDelay: true }) : createHttpsServer(secure);
    server.on('request', (_request, response) => response.writeHead(426, { Upgrade: 'websocket' }).end());
    server.headersTimeout = handshakeMs;
    const door = new WebSocketDoor(webSocket, (duplex, request) => this.acceptWebSocket(duplex, request.socket));
    server.on('upgrade', (request, socket, head) => door.onUpgrade(request, socket, head));
    return certificate === null ? server : this.follow(server as unknown as TlsServer);
  }

  // A new certificate is for the connections to come.
  private follow(server: TlsServer): Server {
    const { certificate, log } = this.parts;
    certificate?.followers.add((options) => server.setSecureContext(options));
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      log.info({ peer: socket.remoteAddress ?? '', reason: error.message }, 'refused: no TLS handshake');
    });
    return server;
  }

  /** @returns the port; rejects with the runtime's error when it is in use. */
  listen({ host, port }: ListenerOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ ...(host === undefined ? {} : { host }), port, backlog: 4096 }, () => {
        this.server.off('error', reject);
        this.server.on('error', () => {}); // a failed accept (out of descriptors) concerns one connection
        const address = this.server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  get connections(): number {
    return this.streams.size;
  }

  /** Accepts no more; connections that exist go on. */
  close(): void {
    this.server.close();
  }

  destroyConnections(): void {
    for (const stream of this.streams) stream.destroy();
  }

  private accept(accepted: Socket): void {
    const remote = remoteOf(accepted);
    if (!this.enter(remote.address, accepted)) return;
    const { socket, handle, attach } = takeOver(accepted);
    socket.setNoDelay(true);
    attach(this.adopt(socket, remote, handle));
    socket.resume();
  }

  private acceptSecure(socket: TLSSocket): void {
    const { certificate, log } = this.parts;
    const remote = remoteOf(socket);
    if (certificate?.options.verify === 'optional' && !socket.authorized && hasCertificate(socket)) {
      log.info({ peer: remote.address, reason: String(socket.authorizationError) }, 'refused: certificate');
      socket.destroy();
      return;
    }
    if (!this.enter(remote.address, socket)) return;
    const stream = this.adopt(socket, remote);
    socket.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
  }

  private acceptWebSocket(duplex: Duplex, socket: Socket): void {
    const remote = remoteOf(socket);
    if (!this.enter(remote.address, duplex)) return;
    const stream = this.adopt(duplex, remote);
    duplex.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
  }

  private enter(address: string, duplex: Duplex): boolean {
    const { addresses, log } = this.parts;
    if (addresses.enter(address)) return true;
    log.info({ peer: address }, 'refused: too many connections from this address');
    duplex.destroy();
    return false;
  }

  private adopt(duplex: Duplex, remote: Remote, handle: Handle | null = null): Stream {
    const { clock, log, protocol, addresses } = this.parts;
    const stream = new Stream(duplex, clock, log, remote, handle);
    this.streams.add(stream);
    duplex.once('close', () => {
      this.streams.delete(stream);
      addresses.leave(remote.address);
    });
    stream.handler = protocol.accept(stream);
    return stream;
  }
}

function remoteOf(socket: Socket): Remote {
  const local = `${plain(socket.localAddress)}:${socket.localPort ?? 0}`;
  const certificateName = socket instanceof TLSSocket ? certificateNameOf(socket) : '';
  const remote = { address: plain(socket.remoteAddress), port: socket.remotePort ?? 0, local, certificateName };
  return socket instanceof TLSSocket ? { ...remote, describeTls: () => describeTls(socket) } : remote;
}

function certificateNameOf(socket: TLSSocket): string {
  const name = socket.authorized ? socket.getPeerCertificate().subject?.CN : undefined;
  return typeof name === 'string' ? name : '';
}

// IPv4 as it is written, also on a socket of both
function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:/, '');
}

function hasCertificate(socket: TLSSocket): boolean {
  return Object.keys(socket.getPeerCertificate()).length > 0;
}

interface Taken {
  readonly socket: Socket;
  /** To be written to; null: the socket is. */
  readonly handle: Handle | null;
  attach(stream: Stream): void;
}

/**
 * Lets the socket be read into the shared buffer: `createServer` has no option for it, so the accepted handle is moved
 * to a new socket that has. Where the runtime's inside differs, `data` events do (−14 to −36 % CPU with, not without).
 */
function takeOver(accepted: Socket): Taken {
  const handle = (accepted as unknown as { _handle: { [key: symbol]: unknown } | null })._handle;
  const owner =
    handle === null ? undefined : Object.getOwnPropertySymbols(handle).find((s) => s.description === 'owner_symbol');
  if (handle === null || owner === undefined) return readByEvents(accepted);
  (accepted as unknown as { _handle: null })._handle = null;
  let receive: ((bytes: number) => void) | null = null;
  const socket = new Socket({
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: readBuffer,
      callback: (bytes: number) => {
        receive?.(bytes);
        return true;
      },
    },
  } as unknown as ConstructorParameters<typeof Socket>[0]);
  handle[owner] = socket;
  return {
    socket,
    handle: isHandle(handle) ? handle : null,
    attach(stream) {
      receive = (bytes) => stream.receive(readBuffer, bytes);
    },
  };
}

function readByEvents(socket: Socket): Taken {
  return {
    socket,
    handle: null,
    attach(stream) {
      socket.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
    },
  };
}
