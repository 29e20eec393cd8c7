import { type Call, CommandError, ExitCode, type Options } from './command.ts';

/** For every command that talks to the broker. */
export const apiOptions: Options = {
  url: { type: 'string', value: 'URL', help: "the broker's HTTP API (ROSETTAMQ_URL; http://localhost:15672)" },
  user: { type: 'string', short: 'u', value: 'NAME', help: 'who logs in (ROSETTAMQ_USER; guest)' },
  password: { type: 'string', value: 'TEXT', help: 'seen by others in the list of processes: better is' },
  'password-stdin': {
    type: 'boolean',
    help: 'to read it from standard input, or ROSETTAMQ_PASSWORD. With --user alone it is asked for',
  },
};

export const vhostOption: Options = {
  vhost: { type: 'string', short: 'V', value: 'NAME', help: 'the virtual host (ROSETTAMQ_VHOST; /)' },
};

export function vhostOf(call: Call): string {
  return call.text('vhost') ?? call.env['ROSETTAMQ_VHOST'] ?? '/';
}

export const jsonOption: Options = {
  json: { type: 'boolean', help: 'print what the API answers instead of a table' },
};

/** The path of names that may hold anything. */
export function path(...names: readonly string[]): string {
  return names.map(encodeURIComponent).join('/');
}

/** The broker's HTTP API, as whoever logs in. */
export class Api {
  private readonly base: URL;
  private readonly user: string;
  private readonly authorization: string;

  private constructor(base: URL, user: string, password: string) {
    this.base = base;
    this.user = user;
    this.authorization = `Basic ${Buffer.from(`${user}:${password}`, 'utf8').toString('base64')}`;
  }

  /** Finds out who logs in where, and asks for the password if it must. @throws CommandError */
  static async of(call: Call): Promise<Api> {
    const { env, terminal } = call;
    const text = call.text('url') ?? env['ROSETTAMQ_URL'] ?? 'http://localhost:15672';
    let base: URL;
    try {
      base = new URL(/^https?:\/\//.test(text) ? text : `http://${text}`);
    } catch {
      throw new CommandError(`--url ${text}: this is no URL`, ExitCode.usage);
    }
    const inUrl = { user: decodeURIComponent(base.username), password: decodeURIComponent(base.password) };
    base.username = '';
    base.password = '';
    if (!base.pathname.endsWith('/')) base.pathname += '/';
    const named = call.text('user') ?? (inUrl.user === '' ? env['ROSETTAMQ_USER'] : inUrl.user);
    const user = named ?? 'guest';
    let password = call.text('password') ?? (inUrl.password === '' ? env['ROSETTAMQ_PASSWORD'] : inUrl.password);
    if (call.flag('password-stdin')) password = (await terminal.readLine()) ?? '';
    if (password === undefined && named !== undefined && named !== 'guest') {
      if (!terminal.interactive) throw new CommandError(`the password of '${user}' is missing`, ExitCode.usage);
      password = await terminal.askSecret(`Password of ${user}: `);
    }
    return new Api(base, user, password ?? 'guest');
  }

  get(path: string): Promise<unknown> {
    return this.request('GET', path);
  }

  put(path: string, body: unknown = {}): Promise<unknown> {
    return this.request('PUT', path, body);
  }

  post(path: string, body: unknown): Promise<unknown> {
    return this.request('POST', path, body);
  }

  delete(path: string, headers: Readonly<Record<string, string>> = {}): Promise<unknown> {
    return this.request('DELETE', path, undefined, headers);
  }

  /**
   * @param path below `/api/`
   * @returns what the answer's JSON says; undefined when it says nothing
   * @throws CommandError: refused with the broker's reason, unreachable when there is no answer
   */
  private async request(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const url = new URL(`api/${path}`, this.base);
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: {
          authorization: this.authorization,
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
    } catch (error) {
      const { cause } = error as { cause?: { code?: string; message?: string } };
      const why = cause?.code ?? cause?.message ?? (error as Error).message;
      throw new CommandError(`the broker at ${this.base.origin} cannot be reached (${why})`, ExitCode.unreachable);
    }
    const text = await response.text();
    if (response.ok) return text === '' ? undefined : parse(text, url);
    throw new CommandError(this.reasonOf(response, text));
  }

  private reasonOf(response: Response, text: string): string {
    const { status } = response;
    try {
      const { reason, error } = JSON.parse(text) as { reason?: unknown; error?: unknown };
      if (status === 401 && error === 'not_authorized') return `the log-in of '${this.user}' is refused (HTTP 401)`;
      if (status === 404 && reason === 'Not Found') return `not found: ${new URL(response.url).pathname} (HTTP 404)`;
      const said = reason ?? error;
      if (typeof said === 'string') return `${said} (HTTP ${status})`;
    } catch {
      // not the broker's own words
    }
    return `HTTP ${status} ${response.statusText}`;
  }
}

function parse(text: string, url: URL): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandError(`${url.origin} does not answer as the API of a broker does`, ExitCode.unreachable);
  }
}
