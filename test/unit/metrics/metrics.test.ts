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
