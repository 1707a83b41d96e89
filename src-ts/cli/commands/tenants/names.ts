/** Reads the names and numbers of tenants from a command line. */
import { InvalidArgumentError } from 'commander';
import { MAX_NUMBER, nameError, numberError } from '../../../tenants/tenant.ts';

export function parseName(text: string): string {
  const wrong = nameError(text);
  if (wrong !== undefined) throw new InvalidArgumentError(wrong);
  return text;
}

export function parseNumber(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (numberError(value) !== undefined)
    throw new InvalidArgumentError(
      `It must be a whole number from 1 to ${MAX_NUMBER}, or 0 for the keys that are there already.`,
    );
  return value;
}
