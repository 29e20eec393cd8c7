import { expect, test } from 'vitest';
import { Transaction } from '../../../src/core/transaction.ts';
import { Core, createMessage, drain, int, TestConsumer } from '../../support/core.ts';

function publish(core: Core, transaction: Transaction, key: string, body: string): void {
  transaction.publish(core.vhost.routeFor('', key), createMessage(body, { key }));
}

test('nothing is seen of a transaction before its commit, and all of it after', () => {
  const core = new Core();
  const queue = core.declare('q');
  const consumer = new TestConsumer(core.client, { credit: 1 });
  queue.attach(consumer);
  core.publish('', 'q', 'before');
  const transaction = new Transaction(core.vhost);
  publish(core, transaction, 'q', 'in');
  transaction.settle(consumer.entries[0] as never, 'ack');
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  expect(transaction.commit(null)).not.toBeNull();
  expect(queue.counts).toMatchObject({ ready: 1, unacked: 0 });
  expect(transaction.empty).toBe(true);
});

test('a rollback gives the entries back and forgets the messages', () => {
  const core = new Core();
  const queue = core.declare('q');
  core.publish('', 'q', 'm');
  const entry = queue.get() as never;
  const transaction = new Transaction(core.vhost);
  publish(core, transaction, 'q', 'never');
  transaction.settle(entry, 'reject');
  expect(transaction.rollback()).toEqual([entry]);
  expect(transaction.commit(null)).not.toBeNull();
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
});

test('a queue that would refuse one message of the transaction refuses all of it', () => {
  const core = new Core();
  const full = core.declare('full', { 'x-max-length': int(1), 'x-overflow': 'reject-publish' });
  const other = core.declare('other');
  const transaction = new Transaction(core.vhost);
  publish(core, transaction, 'other', '1');
  publish(core, transaction, 'full', '2');
  publish(core, transaction, 'full', '3');
  expect(transaction.commit(null)).toBeNull();
  expect([drain(full), drain(other)]).toEqual([[], []]);
});

test('a message whose queue came after it was published finds it at the commit', () => {
  const core = new Core();
  const transaction = new Transaction(core.vhost);
  publish(core, transaction, 'late', 'm');
  publish(core, transaction, 'nowhere', 'lost');
  const late = core.declare('late');
  const unroutable: string[] = [];
  transaction.commit((message) => unroutable.push(message.body.toString()));
  expect(drain(late)).toEqual(['m']);
  expect(unroutable).toEqual(['lost']);
});
