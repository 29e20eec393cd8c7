/** Pieces of the schemas of bodies; text stands for numbers and booleans too, as in RabbitMQ. */
export const text = { type: 'string' } as const;
export const flag = { type: 'boolean' } as const;
export const number = { type: 'integer' } as const;
export const table = { type: 'object', additionalProperties: true } as const;
/** `a,b` or `["a", "b"]`. */
export const tagList = { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }] } as const;

export function body(properties: Readonly<Record<string, object>>, required: readonly string[] = []): object {
  return { body: { type: 'object', properties, required } };
}

export function readTags(tags: string | readonly string[] | undefined): string[] {
  const list = typeof tags === 'string' ? tags.split(',') : (tags ?? []);
  return list.map((tag) => tag.trim()).filter((tag) => tag !== '');
}
