import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Access } from '../core/auth.ts';
import type { Client, ClientView } from '../core/client.ts';
import { noHeaders } from '../core/properties.ts';
import type { Vhost } from '../core/vhost.ts';
import type { Management } from './context.ts';
import { badRequest, HttpError, notAuthorised, notFound } from './errors.ts';

/** Who may use a route, in the words of tags; `vhost` and `policymaker` need the virtual host to be open to them too. */
export type May =
  | 'anybody'
  | 'management'
  | 'monitoring'
  | 'administrator'
  | 'vhost'
  | 'vhost-visible'
  | 'policymaker'
  | 'global-policymaker';

declare module 'fastify' {
  interface FastifyContextConfig {
    may?: May;
  }
  interface FastifyRequest {
    requester: Requester;
  }
}

/** Whoever has logged in. */
export class Requester {
  readonly name: string;
  readonly address: string;
  private readonly management: Management;

  constructor(name: string, address: string, management: Management) {
    this.name = name;
    this.address = address;
    this.management = management;
  }

  // Asked anew for every request: tags may have been taken away.
  private has(...tags: readonly string[]): boolean {
    return this.management.users.find(this.name)?.tags.some((tag) => tags.includes(tag)) === true;
  }

  get tags(): readonly string[] {
    return this.management.users.find(this.name)?.tags ?? [];
  }

  get isManager(): boolean {
    return this.has('administrator', 'monitoring', 'policymaker', 'management');
  }

  get isAdministrator(): boolean {
    return this.has('administrator');
  }

  get isMonitor(): boolean {
    return this.has('administrator', 'monitoring');
  }

  get isPolicymaker(): boolean {
    return this.has('administrator', 'policymaker');
  }

  mayOpen(vhost: string): boolean {
    return this.management.permissions.find(vhost, this.name) !== undefined;
  }

  /** Whose insides they may see in lists. */
  loginVhosts(): Vhost[] {
    return [...this.management.broker.vhosts.values()].filter(({ name }) => this.mayOpen(name));
  }

  /** Administrators and monitors are shown all of them. */
  visibleVhosts(): Vhost[] {
    return this.isMonitor ? [...this.management.broker.vhosts.values()] : this.loginVhosts();
  }

  /** May see the connection and its channels. */
  maySee(client: Client): boolean {
    return this.isMonitor || client.user === this.name;
  }

  /** As whom operations on a virtual host are done. @throws HttpError when it is closed to them */
  clientOf(vhost: Vhost): Client {
    const access = this.management.broker.authenticator.findAccess(this.name, vhost.name);
    if (access === null) {
      throw notAuthorised(`access to vhost '${vhost.name}' refused for user '${this.name}'`);
    }
    return createApiClient(this.name, this.address, vhost, access, this.management.broker.nowMs);
  }
}

/** A client that is there for the time of one request: the core asks its permissions. */
export function createApiClient(user: string, peer: string, vhost: Vhost, access: Access, nowMs: number): Client {
  return {
    id: 'http',
    protocol: 'http',
    user,
    vhost,
    access,
    subscriber: {},
    peer,
    connectedAtMs: nowMs,
    close() {},
    describe: (): ClientView => ({
      protocol: 'HTTP',
      local: '',
      tls: null,
      mechanism: 'PLAIN',
      state: 'running',
      channelMax: 0,
      frameMax: 0,
      heartbeatSeconds: 0,
      bytesIn: 0,
      bytesOut: 0,
      reads: 0,
      writes: 0,
      properties: noHeaders,
    }),
    describeChannels: () => [],
  };
}

const realm = 'Basic realm="RosettaMQ"';

/** Every route under `/api` asks who it is, by the same users and with the same back-off as the protocols. */
export function authenticateRequests(app: FastifyInstance, management: Management): void {
  app.decorateRequest('requester');
  app.addHook('onRequest', async (request, reply) => {
    const { may = 'management' } = request.routeOptions.config;
    if (may === 'anybody') return;
    request.requester = await authenticate(request, reply, management);
    judge(request, may, management);
  });
}

async function authenticate(request: FastifyRequest, reply: FastifyReply, management: Management): Promise<Requester> {
  const { broker, users } = management;
  const [scheme, encoded = ''] = (request.headers.authorization ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'basic') {
    reply.header('www-authenticate', realm);
    throw new HttpError(401, 'not_authorized', 'Login is needed');
  }
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const credentials = { mechanism: 'PLAIN', user: text.slice(0, Math.max(0, colon)), password: text.slice(colon + 1) };
  const address = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  const user = await users.authenticate({ ...credentials, mechanism: 'PLAIN' }, { address, protocol: 'http' });
  if (user === null) {
    broker.log.info({ peer: address, user: credentials.user, protocol: 'http' }, 'refused: wrong credentials');
    reply.header('www-authenticate', realm);
    throw new HttpError(401, 'not_authorized', 'Not_Authorized');
  }
  return new Requester(user, `${address}:${request.socket.remotePort ?? 0}`, management);
}

function judge(request: FastifyRequest, may: May, { broker }: Management): void {
  const { requester } = request;
  const refuse = (reason: string): never => {
    broker.log.info({ peer: requester.address, user: requester.name, protocol: 'http', reason }, 'refused');
    throw notAuthorised(reason);
  };
  if (!requester.isManager) refuse('Not management user');
  const { vhost } = request.params as { vhost?: string };
  // who asks for what is not there is told so, not that it is closed
  const isOpen = vhost === undefined || !broker.vhosts.has(vhost) || requester.mayOpen(vhost);
  switch (may) {
    case 'anybody':
    case 'management':
      return;
    case 'monitoring':
      if (!requester.isMonitor) refuse('Not monitor user');
      return;
    case 'administrator':
      if (!requester.isAdministrator) refuse('Not administrator user');
      return;
    case 'vhost':
      if (!requester.isAdministrator && !isOpen) refuse('User not authorised to access virtual host');
      return;
    case 'vhost-visible':
      if (!requester.isMonitor && !isOpen) refuse('User not authorised to access virtual host');
      return;
    case 'policymaker':
      if (requester.isAdministrator || (requester.isPolicymaker && isOpen)) return;
      return refuse('User not authorised to access object');
    case 'global-policymaker':
      if (!requester.isPolicymaker) refuse('User not authorised to access object');
  }
}

/** The virtual host that the path names. @throws HttpError 404 */
export function vhostOf(request: FastifyRequest, { broker }: Management): Vhost {
  const { vhost } = request.params as { vhost: string };
  const found = broker.vhosts.get(vhost);
  if (found === undefined) throw notFound();
  return found;
}

/** A body that a handler reads by itself. @throws HttpError 400 */
export function bodyOf(request: FastifyRequest): Readonly<Record<string, unknown>> {
  const { body } = request;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw badRequest('not_json');
  return body as Record<string, unknown>;
}
