import { parseAddress } from './address.ts';
import { IncomingLink, suspensionKey } from './incoming-link.ts';
import type { Link } from './link.ts';
import { ManagementSender } from './management.ts';
import { OutgoingLink } from './outgoing-link.ts';
import type { Values } from './performatives.ts';
import type { Session } from './session.ts';
import { openSource } from './source.ts';
import { openTarget } from './target.ts';

/**
 * Makes the broker's end of a link, and hands it over: at once, or when its queue answers.
 * @throws AmqpError, BrokerError when there can be no such link
 */
export function attachLink(session: Session, attach: Values<'attach'>, ready: (link: Link) => void): void {
  const { connection } = session;
  const { suspended } = connection.door;
  const left = suspended.take(suspensionKey(session, attach.name, attach.role));
  if (!attach.role) return ready(new IncomingLink(session, attach, openTarget(session, attach), left));
  if (isManagement(attach)) return ready(new ManagementSender(session, attach));
  let source: ReturnType<typeof openSource>;
  try {
    source = openSource(session, attach);
  } catch (error) {
    for (const entry of left?.entries.values() ?? []) entry.requeue();
    throw error;
  }
  const link = new OutgoingLink(session, attach, source, left);
  if (source.copies) return ready(link);
  connection.settled(source.queue.attach(link), session, () => ready(link));
}

function isManagement({ source }: Values<'attach'>): boolean {
  if (source?.is !== 'source' || typeof source.address !== 'string') return false;
  return source.address !== '' && parseAddress(source.address).kind === 'management';
}
