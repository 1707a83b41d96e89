/** Writes AssemblyScript as text: namespaces of constants, and tables of numbers. */
import { format, resolveConfig } from 'prettier';

/** Joins the parts and formats them with the project's prettier settings. */
export async function formatted(parts: readonly string[], file: string): Promise<string> {
  const config = await resolveConfig(file);
  return format(parts.join('\n'), { ...config, filepath: file });
}

export function namespace(name: string, values: readonly (readonly [string, number])[]): string {
  const lines = values.map(([key, value]) => `export const ${key}: u32 = ${value};`);
  return `export namespace ${name} {\n${lines.join('\n')}\n}\n`;
}

export function data(
  name: string,
  type: 'u8' | 'u16' | 'u32' | 'u64',
  values: readonly (number | bigint)[],
  doc: string,
): string {
  return `${doc}\nexport const ${name}: usize = memory.data<${type}>([${values.join(', ')}]);\n`;
}
