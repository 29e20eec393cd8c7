import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Endpoint } from './interop.ts';

/** rabbitmq-c, the client for C, by its command line tools. */
export function amqpToolsSuite(endpoint: () => Endpoint): void {
  /** @returns what it wrote to standard output; rejects with what it wrote to standard error */
  const run = (program: string, args: readonly string[], input = ''): Promise<string> => {
    const { host, port, user, password } = endpoint();
    const child = spawn(program, [`--url=amqp://${user}:${password}@${host}:${port}`, ...args]);
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    // A program that has what it needs may end before it reads: its exit code tells how it went, not this pipe.
    child.stdin.on('error', () => {});
    if (input === '') child.stdin.end();
    else child.stdin.end(input);
    return new Promise((resolve, reject) =>
      child.on('close', (code) => {
        if (code === 0) resolve(Buffer.concat(out).toString());
        else reject(new Error(`${program} ended with ${code}: ${Buffer.concat(err)}`));
      }),
    );
  };

  test('a queue is declared, filled, read and deleted', async () => {
    const queue = `tools-${randomUUID()}`;
    expect(await run('amqp-declare-queue', ['-d', '-q', queue])).toBe(`${queue}\n`);
    await run('amqp-publish', ['-r', queue, '-p', '-C', 'text/plain', '-b', 'by argument']);
    await run('amqp-publish', ['-r', queue], 'by standard input');
    expect(await run('amqp-get', ['-q', queue])).toBe('by argument');
    expect(await run('amqp-get', ['-q', queue])).toBe('by standard input');
    await expect(run('amqp-get', ['-q', queue])).rejects.toThrow('ended with 2');
    await run('amqp-publish', ['-r', queue, '-b', 'x']);
    expect(await run('amqp-delete-queue', ['-q', queue])).toBe('1\n');
  });

  test('a body of some megabytes, in lines', async () => {
    const queue = `tools-${randomUUID()}`;
    await run('amqp-declare-queue', ['-q', queue]);
    const body = 'x'.repeat(3_000_000);
    await run('amqp-publish', ['-r', queue], body);
    expect(await run('amqp-get', ['-q', queue])).toBe(body);
    await run('amqp-delete-queue', ['-q', queue]);
  });

  test('a consumer runs a program for each message, and acks when it succeeds', async () => {
    const queue = `tools-${randomUUID()}`;
    await run('amqp-declare-queue', ['-q', queue]);
    for (const body of ['one ', 'two ', 'three']) await run('amqp-publish', ['-r', queue, '-b', body]);
    expect(await run('amqp-consume', ['-q', queue, '-c', '3', '-p', '1', 'cat'])).toBe('one two three');
    expect(await run('amqp-delete-queue', ['-q', queue])).toBe('0\n');
  });

  test('a queue bound to an exchange of the broker’s', async () => {
    const consumed = run('amqp-consume', ['-e', 'amq.topic', '-r', 'tools.*', '-x', '-A', '-c', '1', 'cat']);
    let done = false;
    void consumed.finally(() => {
      done = true;
    });
    // nobody tells when its queue is bound: what comes before is lost, as topics are
    while (!done) await run('amqp-publish', ['-e', 'amq.topic', '-r', 'tools.any', '-b', 'by topic']);
    expect(await consumed).toBe('by topic');
  });

  test('an exchange that there is not: the error has its code', async () => {
    await expect(run('amqp-consume', ['-e', 'no-such-exchange', '-r', 'k', 'cat'])).rejects.toThrow(
      /server channel error 404.*NOT_FOUND - no exchange 'no-such-exchange' in vhost '\/'/s,
    );
  });
}
