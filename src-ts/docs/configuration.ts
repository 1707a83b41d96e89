/** The fields of the pluginConfig as text, from its JSON schema. */
import { PLUGIN_CONFIG_SCHEMA, type Schema } from '../config/schema.ts';

type Properties = Readonly<Record<string, Schema>>;

/** Every field in the order of the schema: its path, what it takes, its default, what it means. */
export function configurationReference(): string {
  return fieldsOf(PLUGIN_CONFIG_SCHEMA, '').join('\n');
}

function fieldsOf(schema: Schema, path: string): string[] {
  const required = (schema['required'] ?? []) as readonly string[];
  const properties = (schema['properties'] ?? {}) as Properties;
  return Object.entries(properties).flatMap(([name, field]) => {
    const here = path === '' ? name : `${path}.${name}`;
    return describe(here, field, required.includes(name));
  });
}

function describe(path: string, field: Schema, required: boolean): string[] {
  const items = field['items'] as Schema | undefined;
  const values = field['additionalProperties'] as Schema | boolean | undefined;
  const line = `- \`${path}\` (${facts(field, required)}): ${String(field['description'] ?? '')}`;
  if (items?.['properties'] !== undefined) return [line, ...fieldsOf(items, `${path}[]`)];
  if (typeof values === 'object' && values['properties'] !== undefined)
    return [line, ...fieldsOf(values, `${path}.<name>`)];
  return [line, ...fieldsOf(field, path)];
}

/** Such as "integer, 1 to 32766, required". */
function facts(field: Schema, required: boolean): string {
  const choices = field['enum'] as readonly string[] | undefined;
  const parts = [choices?.map((choice) => `\`${choice}\``).join(' or ') ?? String(field['type'])];
  if (field['minimum'] !== undefined)
    parts.push(`${amount(field['minimum'])} to ${amount(field['maximum'])}`);
  if (field['default'] !== undefined) parts.push(`default ${amount(field['default'])}`);
  if (required) parts.push('required');
  return parts.join(', ');
}

const MIB = 1 << 20;

/** A value as it is written, and large sizes in MiB, too. */
function amount(value: unknown): string {
  if (typeof value !== 'number') return `\`${String(value)}\``;
  return value >= MIB && value % MIB === 0 ? `${value} (${value / MIB} MiB)` : String(value);
}
