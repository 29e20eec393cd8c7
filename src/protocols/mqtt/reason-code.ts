import type { Condition } from '../../core/errors.ts';

/** Reason codes [MQTT 5.0 §2.4]. */
export const ReasonCode = {
  success: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  sharedSubscriptionsNotSupported: 0x9e,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;

export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/** What a peer did wrong, in the specification's codes; the connection ends. */
export class ProtocolError extends Error {
  readonly code: ReasonCode;

  constructor(code: ReasonCode, text: string) {
    super(text);
    this.code = code;
  }
}

/** The one table from the core's conditions to reason codes. */
export const codeOf: Record<Condition, ReasonCode> = {
  'not-found': ReasonCode.topicNameInvalid,
  'precondition-failed': ReasonCode.implementationSpecificError,
  'resource-locked': ReasonCode.notAuthorized,
  'resource-deleted': ReasonCode.unspecifiedError,
  'unauthorized-access': ReasonCode.notAuthorized,
  'resource-limit-exceeded': ReasonCode.quotaExceeded,
  'quota-exceeded': ReasonCode.quotaExceeded,
  'not-allowed': ReasonCode.notAuthorized,
  'not-implemented': ReasonCode.implementationSpecificError,
  'illegal-state': ReasonCode.protocolError,
  'invalid-field': ReasonCode.protocolError,
  'no-route': ReasonCode.noMatchingSubscribers,
  'connection-forced': ReasonCode.administrativeAction,
  'internal-error': ReasonCode.unspecifiedError,
};

/** What a SUBACK may say of a filter that is refused [MQTT-3.9.3-2]. */
export function subackCodeOf(condition: Condition): ReasonCode {
  switch (condition) {
    case 'not-found':
    case 'illegal-state':
    case 'invalid-field':
      return ReasonCode.topicFilterInvalid;
    case 'no-route':
    case 'connection-forced':
      return ReasonCode.unspecifiedError;
    default:
      return codeOf[condition];
  }
}

/** What a PUBACK or PUBREC may say of a publish that is refused [MQTT-3.4.2-1] [MQTT-3.5.2-1]. */
export function pubackCodeOf(condition: Condition): ReasonCode {
  switch (condition) {
    case 'illegal-state':
    case 'invalid-field':
      return ReasonCode.implementationSpecificError;
    case 'connection-forced':
      return ReasonCode.unspecifiedError;
    default:
      return codeOf[condition];
  }
}

/** CONNACK return codes of 3.1.1 for the reason codes of 5.0; null: there is none, and nothing is said [3.1.1 MQTT-3.2.2-6]. */
export function returnCodeOf(code: ReasonCode): number | null {
  switch (code) {
    case ReasonCode.success:
      return 0;
    case ReasonCode.unsupportedProtocolVersion:
      return 1;
    case ReasonCode.clientIdentifierNotValid:
      return 2;
    case ReasonCode.serverUnavailable:
    case ReasonCode.serverBusy:
    case ReasonCode.serverShuttingDown:
    case ReasonCode.quotaExceeded:
      return 3;
    case ReasonCode.badUserNameOrPassword:
      return 4;
    case ReasonCode.notAuthorized:
      return 5;
    default:
      return null;
  }
}
