import { expect, test } from 'vitest';
import { compile, searchable } from '../query';
import { visible, visibleLines } from '../ui/text';
import { splitWords } from './argv';
import { csv, csvCell } from './csv';
import { between } from './selection.svelte';
import { shellQuote } from './targets';
import { fieldTerm, hasTerm, queriesOf, toggleTerm } from './terms';

test('cells that a spreadsheet would calculate are defused', () => {
	for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', ' =1', '%x', '|calc']) expect(csvCell(text).replace(/^"/, '')).toMatch(/^'/);
	expect(csvCell('web01-1')).toBe('web01-1');
	expect(csvCell('a,"b"')).toBe('"a,""b"""');
	expect(csv([['a', 'b\nc']])).toBe('a,"b\nc"\r\n');
});

test('a command is split as a shell does', () => {
	expect(splitWords('uname -a')).toEqual(['uname', '-a']);
	expect(splitWords(`sh -c 'echo "hi  there"' x\\ y ""`)).toEqual(['sh', '-c', 'echo "hi  there"', 'x y', '']);
	expect(splitWords('"a\\"b" "c\\d"')).toEqual(['a"b', 'c\\d']);
	expect(splitWords('echo "x')).toBeUndefined();
	expect(splitWords('echo \\')).toBeUndefined();
	expect(splitWords('  ')).toEqual([]);
});

test('words for a command line are quoted', () => {
	expect(shellQuote('web01-1')).toBe('web01-1');
	expect(shellQuote("tag:web and name:it's")).toBe(`'tag:web and name:it'\\''s'`);
});

test('terms go in and out of a query', () => {
	expect(toggleTerm('', 'group:lab', true)).toBe('group:lab');
	expect(toggleTerm('web', 'tag:eu', false)).toBe('web tag:eu');
	expect(toggleTerm('web tag:eu', 'tag:eu', false)).toBe('web');
	expect(toggleTerm('tag:eu and web', 'tag:eu', false)).toBe('web');
	expect(toggleTerm('web and tag:eu', 'TAG:eu', false)).toBe('web');
	expect(toggleTerm('tag:eu', 'tag:us', false)).toBe('tag:eu tag:us');
	expect(toggleTerm('group:lab web', 'group:shop', true)).toBe('web group:shop');
	expect(toggleTerm('a or b', 'group:lab', true)).toBe('(a or b) group:lab');
	expect(toggleTerm('not group:lab', 'group:shop', true)).toBe('not group:lab group:shop');
	expect(toggleTerm('(group:lab or x) y', 'group:shop', true)).toBe('(group:lab or x) y group:shop');
	expect(toggleTerm('group:"My lab" web', 'group:"My lab"', true)).toBe('web');
});

test('a term is seen only where it holds for every match', () => {
	expect(hasTerm('web tag:eu', 'tag:eu')).toBe(true);
	expect(hasTerm('-tag:eu', 'tag:eu')).toBe(false);
	expect(hasTerm('not tag:eu', 'tag:eu')).toBe(false);
	expect(hasTerm('web or tag:eu', 'tag:eu')).toBe(false);
	expect(hasTerm('(tag:eu)', 'tag:eu')).toBe(false);
	expect(fieldTerm('group', 'My lab')).toBe('group:"My lab"');
	expect(fieldTerm('group', 'a"b')).toBeUndefined();
});

test('chosen devices are named exactly, within the limits of the language', () => {
	const id = (n: number) => (n * 2654435761).toString(16).padStart(16, '0').split('').reverse().join('').padEnd(32, '0');
	const all = Array.from({ length: 3000 }, (_, n) => id(n + 1));
	const chosen = all.filter((_, n) => n % 10 === 0);
	const queries = queriesOf(chosen, all);
	const found = queries.flatMap((query) => {
		const predicate = compile(query);
		const row = (each: string) =>
			searchable({ id: each, name: '', full_name: '', online: false, os: '', arch: '', version: '', parent: '', parent_id: null, last_seen: 0, group: '', tags: [], component: '', relay: false, relay_address: '' });
		return all.filter((each) => predicate(row(each), 0));
	});
	expect(found.sort()).toEqual([...chosen].sort());
});

test('a range goes either way', () => {
	expect(between(['a', 'b', 'c', 'd'], 'b', 'd')).toEqual(['b', 'c', 'd']);
	expect(between(['a', 'b', 'c', 'd'], 'd', 'b')).toEqual(['b', 'c', 'd']);
	expect(between(['a', 'b'], 'x', 'b')).toEqual(['b']);
});

test('what cannot be seen is shown', () => {
	expect(visible('a\u001b[31m\u0000\u007f')).toBe('a\u241b[31m\u2400\u2421');
	expect(visible('safe\u202egpj.exe')).toBe('safe⟨RLO⟩gpj.exe');
	expect(visible('שלום')).toBe('שלום');
	expect(visibleLines('a\tb\r\nc\u0007\n')).toBe('a\tb\nc\u2407\n');
});
