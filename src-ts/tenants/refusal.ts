/** A command that cannot be done as things are; the message says what is in its way and what to do. Exit code 1. */
export class Refusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Refusal';
  }
}
