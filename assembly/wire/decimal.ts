/** Decimal numbers in ASCII. */

const ZERO: u8 = 0x30;

/** Digits of the largest u64. */
export const MAX_DIGITS: usize = 20;

/** How many digits a number has. */
export function digitsOf(value: u64): usize {
  let digits: usize = 1;
  for (let rest = value; rest >= 10; rest /= 10) digits++;
  return digits;
}

/** Writes a number so that it ends at `end`. Returns where it begins. */
export function writeDecimal(end: usize, value: u64): usize {
  let at = end;
  do {
    store<u8>(--at, ZERO + <u8>(value % 10));
    value /= 10;
  } while (value != 0);
  return at;
}

/** Reads the number of `length` digits at `p`. u64.MAX_VALUE when it is no number, or too large. */
export function readDecimal(p: usize, length: usize): u64 {
  if (length == 0 || length > MAX_DIGITS) return u64.MAX_VALUE;
  let value: u64 = 0;
  for (let i: usize = 0; i < length; i++) {
    const digit = <u64>load<u8>(p + i) - ZERO;
    if (digit > 9 || value > (u64.MAX_VALUE - digit) / 10) return u64.MAX_VALUE;
    value = value * 10 + digit;
  }
  return value;
}
