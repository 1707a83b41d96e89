/** Reads the names and numbers of tenants from a command line. */
import { InvalidArgumentError } from 'commander';
import { nameError, numberError } from '../../../tenants/tenant.ts';

export function parseName(text: string): string {
  const wrong = nameError(text);
  if (wrong !== undefined) throw new InvalidArgumentError(wrong);
  return text;
}

export function parseNumber(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  const wrong = numberError(value);
  if (wrong !== undefined) throw new InvalidArgumentError(`${text}: ${wrong}`);
  return value;
}
