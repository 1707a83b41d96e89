/**
 * A strict JSON reader for the pluginConfig: RFC 8259, no duplicate names, an error with its position. Runs when the configuration
 * is loaded, never per message.
 */
import { TextIndex } from './text-index';

export const enum JsonType {
  NULL,
  BOOL,
  NUMBER,
  STRING,
  ARRAY,
  OBJECT,
}

/** A value. Items and members are chains: two arrays for each of ten thousand small objects would take most of the memory. */
export class Json {
  type: JsonType = JsonType.NULL;
  bool: bool = false;
  number: f64 = 0;
  text: string = '';
  /** Its name, if it is a member of an object. */
  name: string = '';
  /** The first item or member, and the value after this one. */
  first: Json | null = null;
  next: Json | null = null;

  /** The number of items or members. */
  count(): i32 {
    let count = 0;
    let item = this.first;
    while (item != null) {
      count++;
      item = item.next;
    }
    return count;
  }

  /** The member with this name, or null. */
  get(name: string): Json | null {
    let member = this.first;
    while (member != null && member.name != name) member = member.next;
    return member;
  }
}

const MAX_DEPTH: i32 = 32;

/** Objects with more members have an index of names. Smaller ones are quicker without. */
const MANY_MEMBERS: i32 = 32;

function indexNames(json: Json): TextIndex {
  const index = new TextIndex();
  let member = json.first;
  while (member != null) {
    index.add(String.UTF16.encode(member.name), 0);
    member = member.next;
  }
  return index;
}

/** Larger exponents count as this one: too large for any field, or too small for a whole number, and yet not 0. */
const MAX_SCALE: i32 = 300;

/** value times ten to `scale`. It is never rounded to 0, which would be tenant 0, and exact for whole numbers below 2^53. */
function scaled(value: f64, scale: i32): f64 {
  let power: f64 = 1;
  for (let i = min(abs(scale), MAX_SCALE); i > 0; i--) power *= 10;
  return value == 0 ? value : scale < 0 ? value / power : value * power;
}

export class JsonReader {
  private at: i32 = 0;
  /** The number that `digits` read. */
  private number: f64 = 0;
  /** Empty if there is no error. */
  error: string = '';

  constructor(private text: string) {}

  /** Reads the text's one value. */
  read(): Json {
    const value = this.value(0);
    this.skipSpace();
    if (this.error.length == 0 && this.at < this.text.length) this.fail('nothing may follow the value');
    return value;
  }

  private fail(what: string): void {
    if (this.error.length != 0) return;
    let line = 1;
    let column = 1;
    for (let i = 0; i < this.at && i < this.text.length; i++) {
      if (this.text.charCodeAt(i) == 10) {
        line++;
        column = 1;
      } else column++;
    }
    this.error = 'not valid JSON at line ' + line.toString() + ', column ' + column.toString() + ': ' + what;
  }

  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }

  private skipSpace(): void {
    for (; ; this.at++) {
      const c = this.peek();
      if (c != 32 && c != 10 && c != 13 && c != 9) return;
    }
  }

  private word(word: string): void {
    for (let i = 0; i < word.length; i++, this.at++) {
      if (this.peek() != word.charCodeAt(i)) {
        this.fail('a value was expected');
        return;
      }
    }
  }

  private value(depth: i32): Json {
    const json = new Json();
    this.skipSpace();
    const c = this.peek();
    if (depth > MAX_DEPTH) this.fail('nested too deep');
    else if (c == 0x7b) this.object(json, depth);
    else if (c == 0x5b) this.array(json, depth);
    else if (c == 0x22) {
      json.type = JsonType.STRING;
      json.text = this.string();
    } else if (c == 0x74 || c == 0x66) {
      json.type = JsonType.BOOL;
      json.bool = c == 0x74;
      this.word(json.bool ? 'true' : 'false');
    } else if (c == 0x6e) this.word('null');
    else if (c == 0x2d || (c >= 0x30 && c <= 0x39)) this.numberValue(json);
    else this.fail(c < 0 ? 'the text ends too early' : 'a value was expected');
    return json;
  }

  /** Reads digits into `number` and returns their count. */
  private digits(): i32 {
    const from = this.at;
    for (let c = this.peek(); c >= 0x30 && c <= 0x39; this.at++, c = this.peek())
      this.number = this.number * 10 + <f64>(c - 0x30);
    return this.at - from;
  }

  private numberValue(json: Json): void {
    this.number = 0;
    const minus = this.peek() == 0x2d;
    if (minus) this.at++;
    const first = this.at;
    const whole = this.digits();
    let good = whole != 0 && (this.text.charCodeAt(first) != 0x30 || whole == 1);
    let scale = 0;
    if (this.peek() == 0x2e) {
      this.at++;
      scale = -this.digits();
      good = scale != 0 && good;
    }
    const mantissa = this.number;
    if (this.peek() == 0x65 || this.peek() == 0x45) {
      this.at++;
      const down = this.peek() == 0x2d;
      if (down || this.peek() == 0x2b) this.at++;
      this.number = 0;
      good = this.digits() != 0 && good;
      const exponent = <i32>min<f64>(this.number, 2 * MAX_SCALE + <f64>this.text.length);
      scale += down ? -exponent : exponent;
    }
    json.type = JsonType.NUMBER;
    if (!good) this.fail('this is not a number');
    json.number = scaled(minus ? -mantissa : mantissa, scale);
  }

  private string(): string {
    this.at++;
    let out = '';
    let from = this.at;
    while (this.error.length == 0) {
      const c = this.peek();
      if (c < 0x20) {
        this.fail(c < 0 ? 'a string is not closed' : 'a control character in a string');
        break;
      }
      if (c == 0x22) {
        const last = this.text.substring(from, this.at++);
        return out.length == 0 ? last : out + last;
      }
      if (c == 0x5c) {
        out += this.text.substring(from, this.at++);
        out += this.escape();
        from = this.at;
      } else this.at++;
    }
    return out;
  }

  private escape(): string {
    const c = this.peek();
    this.at++;
    switch (c) {
      case 0x22:
      case 0x5c:
      case 0x2f:
        return String.fromCharCode(c);
      case 0x62:
        return '\b';
      case 0x66:
        return '\f';
      case 0x6e:
        return '\n';
      case 0x72:
        return '\r';
      case 0x74:
        return '\t';
      case 0x75: {
        let unit = 0;
        for (let i = 0; i < 4; i++, this.at++) {
          const h = this.peek() | 0x20;
          const digit =
            h >= 0x61 && h <= 0x66
              ? h - 0x57
              : this.peek() >= 0x30 && this.peek() <= 0x39
                ? this.peek() - 0x30
                : -1;
          if (digit < 0) {
            this.fail('an escape needs four hex digits');
            return '';
          }
          unit = unit * 16 + digit;
        }
        return String.fromCharCode(unit);
      }
    }
    this.fail('an unknown escape');
    return '';
  }

  /** Appends a value to `json` and returns it. */
  private append(json: Json, last: Json | null, value: Json): Json {
    if (last == null) json.first = value;
    else last.next = value;
    return value;
  }

  private array(json: Json, depth: i32): void {
    json.type = JsonType.ARRAY;
    this.at++;
    this.skipSpace();
    if (this.peek() == 0x5d) {
      this.at++;
      return;
    }
    let last: Json | null = null;
    while (this.error.length == 0) {
      last = this.append(json, last, this.value(depth + 1));
      this.skipSpace();
      const c = this.peek();
      this.at++;
      if (c == 0x5d) return;
      if (c != 0x2c) {
        this.at--;
        this.fail("',' or ']' was expected");
      }
    }
  }

  private object(json: Json, depth: i32): void {
    json.type = JsonType.OBJECT;
    this.at++;
    this.skipSpace();
    if (this.peek() == 0x7d) {
      this.at++;
      return;
    }
    let last: Json | null = null;
    let count = 0;
    let names: TextIndex | null = null;
    while (this.error.length == 0) {
      this.skipSpace();
      if (this.peek() != 0x22) {
        this.fail('a name in quotes was expected');
        return;
      }
      const name = this.string();
      const isNew = names == null ? json.get(name) == null : names.add(String.UTF16.encode(name), 0);
      if (!isNew) {
        this.fail('the name "' + name + '" is there twice');
        return;
      }
      this.skipSpace();
      if (this.peek() != 0x3a) {
        this.fail("':' was expected");
        return;
      }
      this.at++;
      last = this.append(json, last, this.value(depth + 1));
      last.name = name;
      if (++count == MANY_MEMBERS) names = indexNames(json);
      this.skipSpace();
      const c = this.peek();
      this.at++;
      if (c == 0x7d) return;
      if (c != 0x2c) {
        this.at--;
        this.fail("',' or '}' was expected");
      }
    }
  }
}
