import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError, loadConfig, type Sources } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/schema.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'rosettamq-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(text: string, more: Partial<Sources> = {}): Config {
  const file = join(folder, 'rosettamq.yaml');
  writeFileSync(file, text);
  return loadConfig({ file, env: {}, sets: [], ...more });
}

function failure(text: string, more: Partial<Sources> = {}): string {
  try {
    load(text, more);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('order', () => {
  const text = 'listeners: { mqtt: { port: 1 } }';
  const env = { ROSETTAMQ_LISTENERS_MQTT_PORT: '2' };

  test('the file overrides the defaults and leaves what it does not name', () => {
    const { listeners } = load(text);
    expect(listeners['mqtt']).toMatchObject({ port: 1, protocol: 'mqtt', host: '*' });
    expect(listeners['amqp']).toMatchObject({ port: 5672 });
  });

  test('the environment overrides the file', () => {
    expect(load(text, { env }).listeners['mqtt']?.port).toBe(2);
  });

  test('flags override the environment', () => {
    expect(load(text, { env, sets: [['listeners.mqtt.port', '3']] }).listeners['mqtt']?.port).toBe(3);
  });

  test('of two flags for one key the later holds', () => {
    const sets = [
      ['listeners.mqtt.port', '3'],
      ['listeners.mqtt.port', '4'],
    ] as const;
    expect(load('', { sets }).listeners['mqtt']?.port).toBe(4);
  });
});

describe('what is merged', () => {
  test('a listener of a new name stands beside the default ones', () => {
    const { listeners } = load('listeners: { plant: { protocol: mqtt, port: 2883, host: 127.0.0.1 } }');
    expect(Object.keys(listeners)).toContain('mqtt');
    expect(listeners['plant']).toMatchObject({ protocol: 'mqtt', port: 2883, host: '127.0.0.1', enabled: true });
  });

  test('a listener of a new name by the environment', () => {
    const env = { ROSETTAMQ_LISTENERS_PLANT_PORT: '2883', ROSETTAMQ_LISTENERS_PLANT_PROTOCOL: 'mqtt' };
    expect(load('', { env }).listeners['plant']).toMatchObject({ protocol: 'mqtt', port: 2883 });
  });

  test('users given at all replace the default one: guest is not left behind', () => {
    expect(Object.keys(load('users: { anna: { password: secret } }').users)).toEqual(['anna']);
  });

  test('a password of digits is text', () => {
    expect(load('', { sets: [['users.guest.password', '0123']] }).users['guest']?.password).toBe('0123');
  });

  test('variables that are not ours are not looked at, and an empty file is the defaults', () => {
    expect(load('', { env: { PATH: '/bin', ROSETTA: 'x' } }).dataDir).toBe('./data');
  });
});

describe('what is wrong is one line that names the key and the value', () => {
  test.each([
    ['an unknown key', 'brokerName: rosetta', /^brokerName: .*"rosetta"/],
    ['an unknown key inside', 'listeners: { mqtt: { prot: 5 } }', /^listeners\.mqtt\.prot: .*5/],
    ['a wrong type', 'listeners: { mqtt: { port: many } }', /^listeners\.mqtt\.port: .*"many"/],
    ['a port above 65535', 'listeners: { mqtt: { port: 65536 } }', /^listeners\.mqtt\.port: .*65536/],
    ['an unknown protocol', 'listeners: { x: { protocol: kafka, port: 1 } }', /^listeners\.x\.protocol: .*"kafka"/],
    ['a listener without a port', 'listeners: { x: { protocol: mqtt } }', /^listeners\.x\.port: .*missing/],
    ['a null for a section', 'limits:', /^limits: .*null/],
    ['a default vhost that is not there', 'defaultVhost: other', /^defaultVhost: .*"other"/],
    [
      'an anonymous user that is not there',
      'anonymous: { enabled: true, user: nobody }',
      /^anonymous\.user: .*"nobody"/,
    ],
    ['YAML that is none', 'listeners: {', /rosettamq\.yaml: /],
    ['a list instead of keys', '- amqp', /a map of keys is expected/],
  ])('%s', (_what, text, message) => {
    const line = failure(text);
    expect(line).toMatch(message);
    expect(line).not.toContain('\n');
  });

  test('a variable of ours that is no key', () => {
    expect(failure('', { env: { ROSETTAMQ_LISTNERS_MQTT_PORT: '1' } })).toMatch(/^ROSETTAMQ_LISTNERS_MQTT_PORT: /);
  });

  test('a flag that goes through a value', () => {
    expect(failure('', { sets: [['logLevel.mqtt', 'debug']] })).toMatch(/^logLevel\.mqtt: /);
  });

  test('a file that is not there', () => {
    expect(() => loadConfig({ file: join(folder, 'none.yaml'), env: {}, sets: [] })).toThrow(/none\.yaml.*ENOENT/);
  });
});
