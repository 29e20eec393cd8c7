import { describe, expect, test } from 'vitest';
import { type Call, type Command, CommandError, type Group, runWords } from '../../../src/cli/command.ts';
import { TestTerminal } from '../../support/test-terminal.ts';

let last: Call | null = null;

const greet: Command = {
  name: 'greet',
  summary: 'Say hello.',
  arguments: ['NAME', '[TITLE]'],
  options: {
    loud: { type: 'boolean', short: 'l', help: 'in capitals' },
    times: { type: 'string', value: 'COUNT', help: 'so often' },
    with: { type: 'string', multiple: true, help: 'company' },
  },
  run(call) {
    last = call;
    if (call.get(0) === 'nobody') throw new CommandError('nobody is there');
    call.terminal.say(`hello ${call.get(0)} ${call.integer('times') ?? 1}\n`);
  },
};
const all: Command = {
  name: 'all',
  summary: 'Everybody.',
  arguments: ['NAME…'],
  run(call) {
    last = call;
  },
};
const people: Group = { name: 'people', summary: 'People.', commands: [greet, all] };

async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const terminal = new TestTerminal();
  const code = await runWords([greet, people], words, terminal, {});
  return { code, out: terminal.out, err: terminal.err };
}

describe('a command', () => {
  test('gets its arguments and options', async () => {
    expect(await run('greet', 'Ada', '-l', '--with', 'a', '--with', 'b')).toMatchObject({
      code: 0,
      out: 'hello Ada 1\n',
    });
    expect([last?.flag('loud'), last?.list('with'), last?.find(1)]).toEqual([true, ['a', 'b'], undefined]);
  });

  test('stands alone or in a group', async () => {
    expect((await run('people', 'greet', 'Ada')).out).toBe('hello Ada 1\n');
  });

  test('takes as many as it likes of its last argument', async () => {
    expect((await run('people', 'all', 'a', 'b', 'c')).code).toBe(0);
    expect(last?.rest(0)).toEqual(['a', 'b', 'c']);
  });

  test('that is refused ends with 1 and one line', async () => {
    expect(await run('greet', 'nobody')).toEqual({ code: 1, out: '', err: 'rosettamq: nobody is there\n' });
  });
});

test.each([
  ['an unknown command', ['wave']],
  ['an unknown command of a group', ['people', 'wave']],
  ['no argument where one is needed', ['greet']],
  ['an argument too many', ['greet', 'a', 'b', 'c']],
  ['an unknown option', ['greet', 'a', '--quiet']],
  ['an option without its value', ['greet', 'a', '--times']],
  ['text where a number is needed', ['greet', 'a', '--times', 'often']],
])('%s ends with 2 and one line on standard error', async (_what, words) => {
  const { code, out, err } = await run(...words);
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/^rosettamq: .+\n$/);
});

describe('help', () => {
  test.each([[['--help']], [['help']], [[]]])('of all: %j', async (words) => {
    const { code, out } = await run(...words);
    expect(code).toBe(0);
    expect(out).toContain('greet   Say hello.');
  });

  test.each([[['people', '--help']], [['help', 'people']]])('of a group: %j', async (words) => {
    const { code, out } = await run(...words);
    expect(code).toBe(0);
    expect(out).toContain('greet NAME [TITLE]');
  });

  test.each([[['greet', '--help']], [['help', 'greet']], [['greet', 'Ada', '-h']]])(
    'of a command: %j',
    async (words) => {
      const { code, out } = await run(...words);
      expect(code).toBe(0);
      expect(out).toContain('Usage: rosettamq greet NAME [TITLE] [options]');
      expect(out).toContain('-l, --loud');
      expect(out).toContain('--times COUNT');
    },
  );
});
