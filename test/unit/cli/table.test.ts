import { expect, test } from 'vitest';
import { renderTable } from '../../../src/cli/table.ts';

const rows = [
  ['orders', '12'],
  ['a queue with quite a long name', '7'],
];

test('columns are as wide as their widest cell', () => {
  expect(renderTable(['name', 'ready'], rows, Number.POSITIVE_INFINITY)).toBe(
    'name                            ready\norders                          12\na queue with quite a long name  7\n',
  );
});

test('no line is longer than the terminal: the widest column gives', () => {
  expect(renderTable(['name', 'ready'], rows, 20)).toBe('name           ready\norders         12\na queue with…  7\n');
});

test('a terminal too narrow for all columns gets the beginnings', () => {
  const lines = renderTable(['one', 'two'], [['abcdefghij', 'abcdefghij']], 9).split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(9);
});

test('a name cannot write to the terminal what is not text', () => {
  expect(renderTable(['name'], [['\u001b[2J\n']], 80)).toBe('name\n\\x1b[2J\\x0a\n');
});

test('no rows are the heads alone', () => {
  expect(renderTable(['name', 'tags'], [], 80)).toBe('name  tags\n');
});
