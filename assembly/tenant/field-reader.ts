/** Reads the members of a configuration's objects, and keeps the first error. */
import { Json, JsonType } from './json';

export class FieldReader {
  /** '' or one line that names the field and the reason. */
  error: string = '';

  protected fail(where: string, why: string): void {
    if (this.error.length == 0) this.error = where + ': ' + why;
  }

  /** Adds the list item to an error. Callers leave `where` empty, so that ten thousand texts are not built for nothing. */
  protected within(list: string, i: i32): void {
    if (this.error.length != 0) this.error = list + '[' + i.toString() + ']' + this.error;
  }

  /** The same for an object's member. */
  protected withinMember(object: string, name: string): void {
    if (this.error.length != 0) this.error = object + '.' + name + this.error;
  }

  /** Rejects anything but an object with these members. */
  protected known(json: Json, where: string, names: string[]): void {
    if (json.type != JsonType.OBJECT) {
      this.fail(where, 'must be an object');
      return;
    }
    let member = json.first;
    while (member != null) {
      if (!names.includes(member.name)) {
        const path = where == 'pluginConfig' ? member.name : where + '.' + member.name;
        this.fail(path, 'unknown field; known here: ' + names.join(', '));
      }
      member = member.next;
    }
  }

  /** '' when it is absent. */
  protected text(json: Json, name: string, where: string): string {
    const member = json.get(name);
    if (member == null) return '';
    if (member.type != JsonType.STRING || member.text.length == 0)
      this.fail(where + '.' + name, 'must be a text that is not empty');
    return member.text;
  }

  /** False when it is absent. */
  protected flag(json: Json, name: string, where: string, byDefault: bool = false): bool {
    const member = json.get(name);
    if (member == null) return byDefault;
    if (member.type != JsonType.BOOL) this.fail(where + name, 'must be true or false');
    return member.bool;
  }
}
