import type { Authenticator, Peer } from '../../core/auth.ts';
import { ScramExchange, scramMechanism } from '../../core/scram.ts';
import { auth } from './answers.ts';
import type { Auth } from './incoming.ts';
import { ProtocolError, ReasonCode } from './reason-code.ts';

/**
 * AUTH on a connection that was opened with enhanced authentication [MQTT 5.0 §4.12.1]. What else the client sends
 * meanwhile goes on under what it has proved before; a failure ends the connection.
 */
export class Reauthentication {
  private readonly authenticator: Authenticator;
  private readonly peer: Peer;
  private readonly user: string;
  private readonly userOf: (name: string) => string;
  private exchange: { readonly scram: ScramExchange; readonly sinceMs: number; begun: boolean } | null = null;

  constructor(authenticator: Authenticator, peer: Peer, user: string, userOf: (name: string) => string) {
    this.authenticator = authenticator;
    this.peer = peer;
    this.user = user;
    this.userOf = userOf;
  }

  /**
   * @returns the AUTH to answer with
   * @throws ProtocolError 0x82 for what is out of turn, 0x87 for a proof that fails [MQTT-4.12.1-2]
   */
  onAuth({ code, method, data }: Auth, nowMs: number): Buffer {
    if (method !== scramMechanism) throw outOfTurn(`method '${method}'`); // [MQTT-4.12.1-1]
    if ((code === ReasonCode.reAuthenticate) !== (this.exchange === null)) throw outOfTurn(`reason code ${code}`);
    this.exchange ??= { scram: new ScramExchange(this.authenticator, this.peer), sinceMs: nowMs, begun: false };
    const { scram, begun } = this.exchange;
    if (!begun && data.length === 0) return auth(ReasonCode.continueAuthentication, method, data);
    if (!begun) {
      this.exchange.begun = true;
      const answer = scram.first(data, this.userOf);
      if (answer === null) throw failed();
      return auth(ReasonCode.continueAuthentication, method, answer);
    }
    this.exchange = null;
    const success = scram.final(data);
    if (success === null || success.user !== this.user) throw failed(); // nobody becomes somebody else
    return auth(ReasonCode.success, method, success.serverFinal);
  }

  /** True if one was begun so long ago and is not finished. */
  isOlderThan(ms: number, nowMs: number): boolean {
    return this.exchange !== null && nowMs - this.exchange.sinceMs >= ms;
  }
}

function outOfTurn(what: string): ProtocolError {
  return new ProtocolError(ReasonCode.protocolError, `AUTH out of turn: ${what}`);
}

function failed(): ProtocolError {
  return new ProtocolError(ReasonCode.notAuthorized, 're-authentication failed');
}
