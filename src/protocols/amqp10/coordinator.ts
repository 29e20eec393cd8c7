import type { Route } from '../../core/exchange/route.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { accepted } from './outcome.ts';
import { type Composite, toComposite } from './performatives.ts';
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
  /** Declared over this link and not discharged. */
  private readonly declared = new Set<string>();

  constructor(session: Session, given: Composite & { is: 'coordinator' }) {
    this.session = session;
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
      const txnId = transactions.declare();
      this.declared.add(txnId.toString('latin1'));
      return answer({ is: 'declared', txnId });
    }
    this.declared.delete(request.txnId.toString('latin1'));
    const transaction = transactions.take(request.txnId);
    if (transaction === undefined) {
      return answer(failure(ErrorCondition.unknownTransaction, 'there is no such transaction'));
    }
    if (request.fail === true) {
      transaction.rollback();
      return answer(accepted);
    }
    const position = transaction.commit();
    if (position === null) return answer(failure(ErrorCondition.transactionRollback, 'a queue refused a message'));
    this.session.connection.door.broker.journal.whenDurable(position, () => {
      if (this.session.open) answer(accepted);
    });
  };

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

function failure(condition: ErrorCondition, text: string): Composite {
  return { is: 'rejected', error: { condition, description: text } };
}
