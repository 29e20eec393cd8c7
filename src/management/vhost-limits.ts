import type { Parameter, Parameters } from '../core/parameters.ts';
import type { Vhost } from '../core/vhost.ts';

/** RabbitMQ keeps a virtual host's limits as a parameter of this component and name. */
export const limitsComponent = 'vhost-limits';
export const limitsName = 'limits';

/** `max-connections`, `max-queues`; negative: none. */
export type LimitsJson = Readonly<Record<string, number>>;

export function vhostLimitsOf(vhost: string, parameters: Parameters): LimitsJson {
  return (parameters.get(vhost, limitsComponent, limitsName)?.value ?? {}) as LimitsJson;
}

/** Brings the limits that are kept to where they are looked at. */
export function applyVhostLimits(vhost: Vhost, parameters: Parameters): void {
  const limits = vhostLimitsOf(vhost.name, parameters);
  const of = (name: string): number => {
    const limit = limits[name];
    return limit === undefined || limit < 0 ? Number.POSITIVE_INFINITY : limit;
  };
  vhost.limits = { connections: of('max-connections'), queues: of('max-queues') };
}

export function isVhostLimits({ component, name }: Pick<Parameter, 'component' | 'name'>): boolean {
  return component === limitsComponent && name === limitsName;
}
