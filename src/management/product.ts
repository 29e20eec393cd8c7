/** Whose HTTP API and definitions these are: clients look at it to know what they may ask for. */
export const apiVersion = '4.2.0';
