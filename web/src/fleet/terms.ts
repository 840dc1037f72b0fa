// Small edits of a query's text: one term on or off.
import { quote } from '../query';

function* pieces(query: string): Generator<string> {
	// Words with their quoted parts; parentheses stay words of their own.
	for (const match of query.matchAll(/[()]|(?:[^\s()"]|"[^"]*"?)+/g)) yield match[0];
}

export function fieldTerm(field: string, value: string): string | undefined {
	const quoted = quote(value);
	return quoted === undefined ? undefined : `${field}:${quoted}`;
}

interface Piece {
	text: string;
	/** A positive term that every match has to meet. */
	plain: boolean;
}

function parse(query: string): { pieces: Piece[]; choice: boolean } {
	const parsed: Piece[] = [];
	let depth = 0;
	let choice = false;
	let before = '';
	for (const text of pieces(query)) {
		if (text === ')') depth--;
		const plain = depth === 0 && before !== 'not' && before !== '-' && !/^(and|or|not|-.*|[()])$/i.test(text);
		if (depth === 0 && text.toLowerCase() === 'or') choice = true;
		if (text === '(') depth++;
		parsed.push({ text, plain });
		before = text.toLowerCase();
	}
	return { pieces: choice ? parsed.map((piece) => ({ ...piece, plain: false })) : parsed, choice };
}

export function hasTerm(query: string, term: string): boolean {
	return parse(query).pieces.some(({ text, plain }) => plain && text.toLowerCase() === term.toLowerCase());
}

/** Takes the term out where it stands, else puts it at the end; a field with one value per device (`single`) loses its other value. */
export function toggleTerm(query: string, term: string, single: boolean): string {
	const field = term.slice(0, term.indexOf(':') + 1).toLowerCase();
	const { pieces: all, choice } = parse(query);
	const there = hasTerm(query, term);
	const kept: string[] = [];
	for (const { text, plain } of all) {
		const same = text.toLowerCase() === term.toLowerCase() || (single && !there && text.toLowerCase().startsWith(field));
		if (!(plain && same)) kept.push(text);
		else if (kept.at(-1)?.toLowerCase() === 'and') kept.pop();
	}
	if (kept[0]?.toLowerCase() === 'and') kept.shift();
	const rest = kept.join(' ').replaceAll('( ', '(').replaceAll(' )', ')');
	if (there) return rest;
	return choice ? `(${rest}) ${term}` : rest ? `${rest} ${term}` : term;
}

/** Queries that name exactly these devices, each within the language's limits: by prefixes of the ids that no other device has. */
export function queriesOf(ids: readonly string[], all: Iterable<string>): string[] {
	const wanted = new Set(ids);
	let length = 8;
	const unique = (prefix: number) => {
		const prefixes = new Set(ids.map((id) => id.slice(0, prefix)));
		if (prefixes.size < wanted.size) return false;
		for (const id of all) if (!wanted.has(id) && prefixes.has(id.slice(0, prefix))) return false;
		return true;
	};
	while (length < 32 && !unique(length)) length += 4;
	const perQuery = Math.min(64, Math.floor(1024 / (length + 7)));
	const queries: string[] = [];
	for (let start = 0; start < ids.length; start += perQuery) {
		queries.push(
			ids
				.slice(start, start + perQuery)
				.map((id) => `id:${id.slice(0, length)}`)
				.join(' or '),
		);
	}
	return queries;
}
