/** What no hostile caller may ever see, in all forms in which a text or a message could show it. */
import { randomBytes } from 'node:crypto';
import { varint } from '../harness/model/wire.ts';

/** Without `r`: behind a tenant's `m`, the embedded store would take such a key for a row's and fail to read its value. */
const LETTERS = 'abcdefghijkmnpqstuvwxyzACDEFGHJKLMNPQRSTUVWXYZ23456789';

/** Six random letters. */
export function token(): string {
  return [...randomBytes(6)].map((byte) => LETTERS[byte % LETTERS.length]).join('');
}

/** Longer, and in every memcomparable form of it the token stands whole at least once. */
export const repeated = (text: string): string => text.repeat(4);

/** Bytes that stand for somebody's secret. */
interface Needle {
  readonly name: string;
  readonly bytes: Buffer;
  /** The attacker knows it and may say it itself. */
  readonly isKnown: boolean;
}

export class Secrets {
  private readonly needles: Needle[] = [];

  /** A token: as it is, in hex and in base64 of what repeats it. */
  addToken(name: string, text: string): void {
    this.addForms(name, Buffer.from(text), false);
    for (const shift of [0, 1, 2]) {
      const encoded = Buffer.concat([Buffer.alloc(shift), Buffer.from(repeated(text))]).toString('base64');
      this.add(name, Buffer.from(encoded.slice(4, 20)));
    }
  }

  /** What the attacker knows: it counts where the attacker has not said it in the same request. */
  addKnown(name: string, bytes: Uint8Array): void {
    this.addForms(name, bytes, true);
  }

  /** Bytes as they are, in hex, and as Go and the store quote them. */
  private addForms(name: string, bytes: Uint8Array, isKnown: boolean): void {
    const all = Buffer.from(bytes);
    const hex = all.toString('hex');
    this.add(name, all, isKnown);
    this.add(name, Buffer.from(hex), isKnown);
    if (hex !== hex.toUpperCase()) this.add(name, Buffer.from(hex.toUpperCase()), isKnown);
    if (!/^[ -~]*$/.test(all.toString('latin1'))) {
      const quoted = (form: (byte: number) => string): Buffer =>
        Buffer.from([...all].map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : form(b))).join(''));
      const forms = [
        quoted((b) => `\\x${b.toString(16).padStart(2, '0')}`),
        quoted((b) => `\\${b.toString(8).padStart(3, '0')}`),
        quoted((b) => `%${b.toString(16).padStart(2, '0')}`),
      ];
      for (const form of forms) this.add(name, form, isKnown);
    }
  }

  /** A large number: as a varint, in decimal and in hex. */
  addNumber(name: string, value: bigint): void {
    this.add(name, Buffer.from(varint(value)));
    for (const base of [10, 16]) this.add(name, Buffer.from(value.toString(base)));
    const signed = BigInt.asIntN(64, value);
    if (signed !== value) this.add(name, Buffer.from(signed.toString()));
  }

  private add(name: string, bytes: Buffer, isKnown = false): void {
    this.needles.push({ name, bytes, isKnown });
  }

  /** Whose secret these bytes show; undefined where they show none. Keys count where `sent`, if given, has none of their forms. */
  shownIn(bytes: Buffer, sent?: Buffer): string | undefined {
    const isSent = ({ name }: Needle): boolean =>
      sent !== undefined && this.needles.some((other) => other.name === name && sent.includes(other.bytes));
    return this.needles.find((needle) => bytes.includes(needle.bytes) && !(needle.isKnown && isSent(needle)))
      ?.name;
  }

  /** The same for what nobody but its owner knows. */
  unknownIn(bytes: Buffer): string | undefined {
    return this.needles.find((needle) => !needle.isKnown && bytes.includes(needle.bytes))?.name;
  }
}
