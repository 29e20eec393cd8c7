import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { MortalBroker } from '../support/mortal-broker.ts';

const run = promisify(execFile);
const versions = ['mqttv31', 'mqttv311', 'mqttv5'] as const;

/** mosquitto_pub and mosquitto_sub. What is to be received waits in a session, so that no program waits for another. */
export function mosquittoSuite(broker: () => MortalBroker): void {
  let unique = 0;
  const name = (): string => {
    unique += 1;
    return `mosquitto-${unique}`;
  };
  const call = async (program: string, args: readonly string[], password = 'guest'): Promise<string> => {
    const login = ['-p', String(broker().port), '-u', 'guest', '-P', password];
    return (await run(program, [...login, ...args], { timeout: 30_000 })).stdout;
  };
  const publish = (...args: string[]) => call('mosquitto_pub', args);
  /** The lines of so many messages. */
  const receive = async (count: number, ...args: string[]): Promise<string[]> =>
    (await call('mosquitto_sub', ['-C', String(count), ...args])).split('\n').slice(0, -1);
  /** Leaves a session behind that has subscribed. */
  const leave = (...args: string[]) => call('mosquitto_sub', ['-c', '-E', ...args]);

  describe.each(versions)('%s', (version) => {
    test('a session holds QoS 1 and 2 over a kill', async () => {
      const [id, topic] = [name(), name()];
      const session = ['-V', version, '-i', id, '-q', '2', '-t', `${topic}/+`];
      await leave(...session);
      for (const qos of ['0', '1', '2']) await publish('-V', version, '-q', qos, '-t', `${topic}/a`, '-m', `at ${qos}`);
      await broker().restart('SIGKILL');
      const lines = await receive(2, '-c', ...session, '-F', '%t %q %p');
      expect(lines.sort()).toEqual([`${topic}/a 1 at 1`, `${topic}/a 2 at 2`]);
    });

    test('retained messages are set, found by wildcards and cleared', async () => {
      const topic = name();
      for (const leaf of ['a', 'b'])
        await publish('-V', version, '-q', '1', '-r', '-t', `${topic}/${leaf}`, '-m', leaf);
      const all = ['-V', version, '-t', `${topic}/#`, '-F', '%r %p'];
      expect((await receive(2, ...all)).sort()).toEqual(['1 a', '1 b']);
      await publish('-V', version, '-q', '1', '-r', '-n', '-t', `${topic}/a`);
      await publish('-V', version, '-q', '1', '-r', '-t', `${topic}/c`, '-m', 'c');
      expect((await receive(2, ...all)).sort()).toEqual(['1 b', '1 c']);
    });

    test('what comes for a shared subscription whose members are away goes to the first that is back', async () => {
      const topic = name();
      const member = (id: string) => ['-V', version, '-i', id, '-q', '1', '-t', `$share/group/${topic}`];
      const ids = [name(), name()];
      for (const id of ids) await leave(...member(id));
      for (const body of ['1', '2']) await publish('-V', version, '-q', '1', '-t', topic, '-m', body);
      const got = await receive(2, '-c', ...member(ids[0] as string));
      expect(got.sort()).toEqual(['1', '2']);
    });

    test('a wrong password is said to be one', async () => {
      const refused = call('mosquitto_pub', ['-V', version, '-t', 'a', '-m', 'b'], 'wrong');
      await expect(refused).rejects.toThrow(/bad user name or password|Not authorized/i);
    });
  });

  test('mqttv31: a client id of more than 23 characters is rejected', async () => {
    const refused = publish('-V', 'mqttv31', '-i', 'c'.repeat(24), '-t', 'a', '-m', 'b');
    await expect(refused).rejects.toThrow(/identifier rejected/);
  });

  test('the properties of version 5 come as they were sent', async () => {
    const [id, topic] = [name(), name()];
    const session = ['-V', 'mqttv5', '-i', id, '-q', '1', '-t', topic, '-D', 'connect', 'receive-maximum', '1'];
    await leave(...session);
    const properties = [
      ['content-type', 'text/plain'],
      ['correlation-data', 'c-1'],
      ['response-topic', 'replies'],
      ['user-property', 'note', 'Grüße'],
    ].flatMap((property) => ['-D', 'publish', ...property]);
    for (const body of ['1', '2', '3'])
      await publish('-V', 'mqttv5', '-q', '1', '-t', topic, '-m', body, ...properties);
    const lines = await receive(3, '-c', ...session, '-F', '%p %C %D %R %P');
    expect(lines).toEqual(['1', '2', '3'].map((body) => `${body} text/plain c-1 replies note:Grüße`));
  });
}
