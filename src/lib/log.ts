/** The part of pino's interface that the rooms use; never given a secret or a body. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
