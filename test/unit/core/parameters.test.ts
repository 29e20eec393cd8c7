import { expect, test } from 'vitest';
import { Parameters } from '../../../src/core/parameters.ts';
import { MemoryJournal } from '../../../src/storage/memory.ts';

test('parameters are found by virtual host, component and name, and go with their virtual host', () => {
  const parameters = new Parameters(new MemoryJournal());
  parameters.set({ vhost: 'a', component: 'c', name: 'n', value: 1 });
  parameters.set({ vhost: 'b', component: 'c', name: 'n', value: 2 });
  expect(parameters.get('a', 'c', 'n')?.value).toBe(1);
  expect(parameters.get('a', 'c', 'other')).toBeUndefined();
  parameters.deleteVhost('a');
  expect(parameters.all()).toEqual([{ vhost: 'b', component: 'c', name: 'n', value: 2 }]);
  expect([parameters.delete('b', 'c', 'n'), parameters.delete('b', 'c', 'n')]).toEqual([true, false]);
});

test('a global parameter may be anything that JSON can say', () => {
  const parameters = new Parameters(new MemoryJournal());
  parameters.setGlobal('g', null);
  expect([...parameters.allGlobals()]).toEqual([['g', null]]);
  expect([parameters.deleteGlobal('g'), parameters.deleteGlobal('g')]).toEqual([true, false]);
});
