import type { Route } from '../../core/exchange/route.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { accepted } from './outcome.ts';
import { type Composite, toComposite, type Values } from './performatives.ts';
import { SectionCode, type Sections } from './sections.ts';
import type { Session } from './session.ts';
import type { Answer, TargetNode } from './target.ts';
import { Decoder, Described } from './types.ts';

/** The node that transactions are declared and discharged at [AMQP 1.0 §4.2]. */
export class Coordinator implements TargetNode {
  readonly shown: Composite;
  readonly isAnonymous = false;
  readonly timeoutMs = 0;
  private readonly session: Session;
  /** The controller takes `rejected`; one that does not is told by a detach [§4.3]. */
  private readonly rejects: boolean;
  /** Declared over this link and not discharged. */
  private readonly declared = new Set<string>();

  constructor(session: Session, attach: Values<'attach'>, given: Composite & { is: 'coordinator' }) {
    this.session = session;
    const outcomes = (attach.source?.is === 'source' ? attach.source.outcomes : undefined) ?? [];
    this.rejects = outcomes.length === 0 || outcomes.includes('amqp:rejected:list');
    const offered = ['amqp:local-transactions', 'amqp:multi-txns-per-ssn', 'amqp:multi-ssns-per-txn'];
    const wanted = given.capabilities ?? offered;
    this.shown = { is: 'coordinator', capabilities: offered.filter((capability) => wanted.includes(capability)) };
  }

  routeOf(): Route {
    throw new AmqpError(ErrorCondition.notAllowed, 'link', 'a coordinator takes no messages');
  }

  readonly onMessage = (bytes: Buffer, sections: Sections, answer: Answer): void => {
    const request = readRequest(bytes, sections);
    const { transactions } = this.session.connection;
    if (request.is === 'declare') {
      if (request.globalId !== undefined) {
        return this.fail(answer, ErrorCondition.notImplemented, 'transactions are local: a global id is not taken');
      }
      const txnId = transactions.declare();
      this.declared.add(txnId.toString('latin1'));
      return answer({ is: 'declared', txnId });
    }
    this.declared.delete(request.txnId.toString('latin1'));
    const transaction = transactions.take(request.txnId);
    if (transaction === undefined) {
      return this.fail(answer, ErrorCondition.unknownTransaction, 'there is no such transaction');
    }
    if (request.fail === true) {
      transaction.rollback();
      return answer(accepted);
    }
    const position = transaction.commit();
    if (position === null) {
      return this.fail(answer, ErrorCondition.transactionRollback, 'a queue refused a message');
    }
    this.session.connection.door.broker.journal.whenDurable(position, () => {
      if (this.session.open) answer(accepted);
    });
  };

  private fail(answer: Answer, condition: ErrorCondition, text: string): void {
    if (!this.rejects) throw new AmqpError(condition, 'link', text);
    answer({ is: 'rejected', error: { condition, description: text } });
  }

  release(): void {
    for (const id of this.declared) this.session.connection.transactions.take(Buffer.from(id, 'latin1'))?.rollback();
  }
}

type Request = Composite & { is: 'declare' | 'discharge' };

function readRequest(bytes: Buffer, { bodyCode, bodyAt, bodyEnd }: Sections): Request {
  if (bodyCode === SectionCode.value) {
    const section = new Decoder(bytes, bodyAt, bodyEnd).read();
    if (section instanceof Described && section.value instanceof Described) {
      const request = toComposite(section.value);
      if (request.is === 'declare' || request.is === 'discharge') return request;
    }
  }
  throw new AmqpError(ErrorCondition.invalidField, 'link', 'a coordinator takes declare and discharge');
}
