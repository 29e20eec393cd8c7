import { parseAddress } from './address.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
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
  checkAttach(attach);
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

const expiryPolicies = ['link-detach', 'session-end', 'connection-close', 'never'];

/** What the types of its fields do not say. */
function checkAttach({
  role,
  initialDeliveryCount,
  sndSettleMode,
  rcvSettleMode,
  source,
  target,
}: Values<'attach'>): void {
  if (!role && initialDeliveryCount === undefined) {
    throw invalid('attach.initial-delivery-count is mandatory for a sender'); // [§2.7.3]
  }
  if ((sndSettleMode ?? 0) > 2) throw invalid(`attach.snd-settle-mode is no mode: ${sndSettleMode}`);
  if ((rcvSettleMode ?? 0) > 1) throw invalid(`attach.rcv-settle-mode is no mode: ${rcvSettleMode}`);
  for (const terminus of [source, target]) {
    if (terminus?.is !== 'source' && terminus?.is !== 'target') continue;
    const { durable, expiryPolicy } = terminus;
    if ((durable ?? 0) > 2) throw invalid(`${terminus.is}.durable is no durability: ${durable}`); // [§3.5.5]
    if (expiryPolicy !== undefined && !expiryPolicies.includes(expiryPolicy)) {
      throw invalid(`${terminus.is}.expiry-policy is no policy: ${expiryPolicy}`); // [§3.5.6]
    }
  }
}

function invalid(text: string): AmqpError {
  return new AmqpError(ErrorCondition.invalidField, 'link', text);
}

function isManagement({ source }: Values<'attach'>): boolean {
  if (source?.is !== 'source' || typeof source.address !== 'string') return false;
  return source.address !== '' && parseAddress(source.address).kind === 'management';
}
