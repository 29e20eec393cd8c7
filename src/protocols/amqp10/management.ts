import type { Route } from '../../core/exchange/route.ts';
import { managementAddress } from './address.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import type { Link } from './link.ts';
import { handleRequest, type Response } from './management-api.ts';
import { accepted } from './outcome.ts';
import { type Composite, encodePerformative, type Values } from './performatives.ts';
import { SectionCode, type Sections } from './sections.ts';
import type { Session } from './session.ts';
import type { Answer, TargetNode } from './target.ts';
import { AmqpMap, type Any, Decoder, Described, encodeList, encodeValue, textOf } from './types.ts';

/**
 * The management node [RabbitMQ: HTTP over AMQP 1.0]: a pair of links of one name. A request is a message whose subject
 * is the method and whose `to` is the path; its answer comes over the other link, with the status as subject.
 */
export class ManagementTarget implements TargetNode {
  readonly shown: Composite;
  readonly isAnonymous = false;
  readonly timeoutMs = 0;
  private readonly session: Session;
  private readonly name: string;

  constructor(session: Session, attach: Values<'attach'>, target: Composite & { is: 'target' }) {
    this.session = session;
    this.name = attach.name;
    this.shown = { ...target, address: managementAddress };
  }

  routeOf(): Route {
    throw new AmqpError(ErrorCondition.notAllowed, 'link', 'the management node takes requests');
  }

  readonly onMessage = (bytes: Buffer, sections: Sections, answer: Answer): void => {
    const { session } = this;
    const sender = [...session.links.values()].find(
      (link): link is ManagementSender => link instanceof ManagementSender && link.name === this.name && link.open,
    );
    if (sender === undefined) {
      throw new AmqpError(
        ErrorCondition.preconditionFailed,
        'link',
        `no receiver of the pair '${this.name}' is attached`,
      );
    }
    const { messageId, method, path, body } = readRequest(bytes, sections);
    const { journal } = session.connection.door.broker;
    const before = journal.position;
    const response = handleRequest(session.connection, method, path, body);
    answer(accepted);
    session.connection.settled(response, session, (known) =>
      session.connection.whenDurable(before, () => sender.respond(messageId, known)),
    );
  };

  release(): void {}
}

interface Request {
  readonly messageId: Any;
  readonly method: string;
  readonly path: string;
  readonly body: Any;
}

function readRequest(bytes: Buffer, sections: Sections): Request {
  const list = sections.properties < 0 ? [] : new Decoder(bytes, sections.properties, sections.end).read();
  const [messageId = null, , to = null, subject = null] = list as readonly Any[];
  const [path, method] = [textOf(to), textOf(subject)];
  if (path === undefined || method === undefined) {
    throw new AmqpError(ErrorCondition.invalidField, 'link', "a request needs 'to' and 'subject'");
  }
  let body: Any = null;
  if (sections.bodyCode === SectionCode.value) {
    const section = new Decoder(bytes, sections.bodyAt, sections.bodyEnd).read();
    if (section instanceof Described) body = section.value;
  }
  return { messageId, method, path, body };
}

/** The link of the pair over which answers come; they wait for its credit. */
export class ManagementSender implements Link {
  readonly session: Session;
  readonly name: string;
  readonly handle: number;
  readonly isSender = true;
  open = true;
  private readonly attach: Values<'attach'>;
  private creditLeft = 0;
  private deliveryCount = 0;
  private readonly waiting: Buffer[] = [];

  constructor(session: Session, attach: Values<'attach'>) {
    this.session = session;
    this.name = attach.name;
    this.handle = attach.handle;
    this.attach = attach;
  }

  start(): void {
    const { session, attach } = this;
    session.connection.send(session.channel, 'attach', {
      name: this.name,
      handle: this.handle,
      role: false,
      sndSettleMode: 1,
      rcvSettleMode: 0,
      ...(attach.source === undefined ? {} : { source: attach.source }),
      ...(attach.target === undefined ? {} : { target: attach.target }),
      initialDeliveryCount: 0,
      ...(attach.properties === undefined ? {} : { properties: attach.properties }),
    });
  }

  onFlow(flow: Values<'flow'>): void {
    if (flow.linkCredit !== undefined) {
      const left = (((flow.deliveryCount ?? 0) + flow.linkCredit) | 0) - (this.deliveryCount | 0);
      this.creditLeft = Math.max(0, left | 0);
    }
    this.sendWaiting();
    if (flow.drain === true) {
      this.deliveryCount = (this.deliveryCount + this.creditLeft) >>> 0;
      this.creditLeft = 0;
    }
    if (flow.drain !== true && flow.echo !== true) return;
    const { handle, deliveryCount, creditLeft } = this;
    this.session.sendFlow({ handle, deliveryCount, linkCredit: creditLeft, available: 0, drain: flow.drain ?? false });
  }

  respond(messageId: Any, { status, body }: Response): void {
    if (!this.open) return;
    const properties = [null, null, null, String(status), null, messageId].map((field) => encodeValue(field));
    this.waiting.push(
      Buffer.concat([
        Buffer.from([0, 0x53, SectionCode.properties]),
        encodeList(properties),
        Buffer.from([0, 0x53, SectionCode.applicationProperties]),
        encodeValue(new AmqpMap([['http:response', '1.1']])),
        Buffer.from([0, 0x53, SectionCode.value]),
        encodeValue(body),
      ]),
    );
    this.sendWaiting();
  }

  private sendWaiting(): void {
    const { session } = this;
    while (this.creditLeft > 0 && this.waiting.length > 0 && session.open) {
      const message = this.waiting.shift()!;
      const delivery = session.nextDelivery(null);
      this.creditLeft -= 1;
      this.deliveryCount = (this.deliveryCount + 1) >>> 0;
      const deliveryTag = Buffer.alloc(4);
      deliveryTag.writeUInt32BE(delivery >>> 0);
      session.sendInFrames(
        this.handle,
        (more, isFirst) =>
          encodePerformative('transfer', {
            handle: this.handle,
            deliveryId: delivery >>> 0,
            ...(isFirst ? { deliveryTag, messageFormat: 0, settled: true } : {}),
            more,
          }),
        message,
      );
    }
  }

  detached(): void {
    this.open = false;
    this.waiting.length = 0;
  }
}
