import { expect, test } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { Core } from '../../support/core.ts';

test('who asks gets the totals of the broker and those of the runtime, every time', async () => {
  const core = new Core();
  core.declare('orders');
  const metrics = new Metrics(core.broker, '1.2.3');
  for (const _ of [1, 2]) {
    const text = await metrics.render();
    expect(text).toContain('rosettamq_build_info{version="1.2.3"} 1');
    for (const name of [
      'process_cpu_seconds_total',
      'nodejs_heap_size_used_bytes',
      'nodejs_eventloop_lag_p99_seconds',
    ]) {
      expect(text).toMatch(new RegExp(`^${name} `, 'm'));
    }
  }
});

test('dead letters that their queue still holds are counted apart from what is ready', async () => {
  const core = new Core();
  const args = {
    'x-queue-type': 'quorum',
    'x-overflow': 'reject-publish',
    'x-dead-letter-strategy': 'at-least-once',
    'x-dead-letter-exchange': 'missing',
  };
  const queue = core.declare('orders', args, true);
  core.publish('', 'orders', 'm');
  const entry = queue.get();
  if (entry === undefined || entry instanceof Promise) throw new Error('nothing to reject');
  entry.reject();
  const text = await new Metrics(core.broker, '1.2.3').render();
  expect(text).toContain('rosettamq_queue_messages_dead{vhost="/"} 1');
  expect(text).toContain('rosettamq_queue_messages_ready{vhost="/"} 0');
});
