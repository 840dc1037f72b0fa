import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compile, lower, QueryError, quote, searchable } from './query';
import type { Device } from './types';

interface Vectors {
	now: number;
	devices: Device[];
	vectors: { query: string; match?: string[]; error_column?: number }[];
}

const file = JSON.parse(readFileSync(new URL('../../tests/vectors/query.json', import.meta.url), 'utf8')) as Vectors;

describe('vectors shared with the server', () => {
	// The server's own devices have an id or none; its word for those with none is "server".
	const rows = file.devices.map((each) => searchable({ ...each, parent_id: each.parent === 'server' ? null : each.parent }));
	for (const { query, match, error_column } of file.vectors) {
		test(query.length > 60 ? `${query.slice(0, 60)}…` : query || '(empty)', () => {
			if (error_column !== undefined) {
				let column = 0;
				try {
					compile(query);
				} catch (error) {
					column = (error as QueryError).column;
				}
				expect(column).toBe(error_column);
				return;
			}
			const predicate = compile(query);
			const found = rows.filter((row) => predicate(row, file.now)).map((row) => row.device.full_name);
			expect(found.sort()).toEqual([...match!].sort());
		});
	}
});

test('a value is quoted when it has to be', () => {
	expect(quote('web')).toBe('web');
	expect(quote('Production EU')).toBe('"Production EU"');
	expect(quote('a*b')).toBe('"a*b"');
	expect(quote('')).toBe('""');
	expect(quote('say "x"')).toBeUndefined();
});

test('only ASCII letters lose their case, as on the server', () => {
	expect(lower('WEB-01')).toBe('web-01');
	expect(lower('ÄÖ-K\u212a')).toBe('ÄÖ-k\u212a');
});
