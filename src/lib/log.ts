/** The part of pino's interface that the rooms use; never given a secret or a body. */
export interface Logger {
  /** Least severe level that is written: debug, info, warn, error or silent; may be set at any time. */
  level: string;
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silent: Logger = { level: 'silent', debug() {}, info() {}, warn() {}, error() {} };
