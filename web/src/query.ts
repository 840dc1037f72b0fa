// The fleet's query language, the same as the server's (src/fleet/query.h; both pass tests/vectors/query.json):
//   query = and-terms { "or" and-terms };  and-terms = term { ["and"] term };  term = ["not" | "-"] ( "(" query ")" | word | field:value )
// Words ignore the case of ASCII letters.  A bare word is a substring of name, full name, group, tag or os, or a prefix of the id.  Unquoted `*`
// stands for any text, and then the whole value has to match.
import type { Device } from './types';

export const QUERY_BYTES = 1024;
export const QUERY_TERMS = 64;
export const QUERY_DEPTH = 16;

/** A device with what is compared in lower case. */
export interface Searchable {
	device: Device;
	name: string;
	full: string;
	group: string;
	tags: string[];
	os: string;
	version: string;
	/** All that a bare word is looked for in, a line each. */
	text: string;
}

export type Predicate = (row: Searchable, now: number) => boolean;

export type QueryFault = 'long' | 'terms' | 'depth' | 'term' | 'open' | 'close' | 'quote' | 'field' | 'value' | 'online' | 'seen';

export class QueryError extends Error {
	constructor(
		readonly fault: QueryFault,
		/** From 1. */
		readonly column: number,
	) {
		super(`${fault} at ${column}`);
	}
}

/** Of ASCII letters only, as the server does it.  What is in lower case already stays the same string. */
export function lower(text: string): string {
	const lowered = text.toLowerCase();
	if (lowered === text) return text;
	return /[^\u0000-\u007f]/.test(text) ? text.replace(/[A-Z]+/g, (part) => part.toLowerCase()) : lowered;
}

// Groups, tags, systems and versions are few: one string for all devices that have it.
const KNOWN_MAX = 10_000;
const known = new Map<string, string>();

function lowerKnown(text: string): string {
	let lowered = known.get(text);
	if (lowered === undefined) {
		if (known.size >= KNOWN_MAX) known.clear();
		lowered = lower(text);
		known.set(text, lowered);
	}
	return lowered;
}

export function searchable(device: Device): Searchable {
	const name = lower(device.name);
	const full = lower(device.full_name);
	const group = lowerKnown(device.group);
	const tags = device.tags.map(lowerKnown);
	const os = lowerKnown(device.os);
	return { device, name, full, group, tags, os, version: lowerKnown(device.version), text: [full, name, group, os, ...tags].join('\n') };
}

interface Value {
	text: string;
	quoted: boolean;
}

type Compare = 'exact' | 'substring' | 'prefix';

function matcher({ text, quoted }: Value, compare: Compare): (value: string) => boolean {
	const wanted = lower(text);
	if (!quoted && wanted.includes('*')) return wildcard(wanted.split('*'));
	if (compare === 'exact') return (value) => value === wanted;
	if (compare === 'prefix') return (value) => value.startsWith(wanted);
	return (value) => value.includes(wanted);
}

/** The parts between the stars, in this order; the first at the start, the last at the end. */
function wildcard(parts: string[]): (value: string) => boolean {
	const first = parts[0] ?? '';
	const last = parts[parts.length - 1] ?? '';
	const middle = parts.slice(1, -1);
	return (value) => {
		if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return false;
		let at = first.length;
		const end = value.length - last.length;
		for (const part of middle) {
			const found = value.indexOf(part, at);
			if (found < 0 || found + part.length > end) return false;
			at = found + part.length;
		}
		return true;
	};
}

function bareWord(word: Value): Predicate {
	const plain = word.quoted || !word.text.includes('*');
	const wanted = lower(word.text);
	if (plain && !wanted.includes('\n')) {
		if (!/^[0-9a-f]+$/.test(wanted)) return ({ text }) => text.includes(wanted);
		return ({ text, device }) => text.includes(wanted) || device.id.startsWith(wanted);
	}
	const matches = matcher(word, plain ? 'substring' : 'exact');
	const matchesId = matcher(word, 'prefix');
	return ({ full, name, group, tags, os, device }) =>
		matches(full) || matches(name) || matches(group) || matches(os) || tags.some(matches) || matchesId(device.id);
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

function seen({ text }: Value, column: number): Predicate {
	const match = /^([<>])(\d{1,9})([smhdw])$/.exec(lower(text));
	if (!match) throw new QueryError('seen', column);
	const limit = Number(match[2]) * (SECONDS[match[3] ?? ''] ?? 0);
	const age = (device: Device, now: number) =>
		device.online ? 0 : device.last_seen === 0 ? Number.POSITIVE_INFINITY : now - device.last_seen;
	return match[1] === '<' ? ({ device }, now) => age(device, now) < limit : ({ device }, now) => age(device, now) > limit;
}

function online({ text }: Value, column: number): Predicate {
	const word = lower(text);
	if (word !== 'yes' && word !== 'no') throw new QueryError('online', column);
	return ({ device }) => device.online === (word === 'yes');
}

const FIELDS: Record<string, (value: Value, column: number) => Predicate> = {
	name: (value) => {
		const matches = matcher(value, 'substring');
		return (row) => matches(row.full) || matches(row.name);
	},
	group: (value) => {
		const matches = matcher(value, 'exact');
		return (row) => matches(row.group);
	},
	tag: (value) => {
		const matches = matcher(value, 'exact');
		return (row) => row.tags.some(matches);
	},
	os: (value) => {
		const matches = matcher(value, 'substring');
		return (row) => matches(row.os);
	},
	arch: (value) => {
		const matches = matcher(value, 'exact');
		return ({ device }) => matches(lowerKnown(device.arch));
	},
	version: (value) => {
		const matches = matcher(value, 'substring');
		return (row) => matches(row.version);
	},
	id: (value) => {
		const matches = matcher(value, 'prefix');
		return ({ device }) => matches(device.id);
	},
	parent: (value) => {
		const matches = matcher(value, 'prefix');
		return ({ device }) => matches(device.parent_id ?? 'server');
	},
	online,
	seen,
};

export const QUERY_FIELDS = Object.keys(FIELDS);

class Parser {
	#text: string;
	#at = 0;
	#terms = 0;
	#depth = 0;

	constructor(text: string) {
		this.#text = text;
	}

	parse(): Predicate {
		this.#space();
		if (this.#at === this.#text.length) return () => true;
		const predicate = this.#or();
		if (this.#at < this.#text.length) throw new QueryError('close', this.#at + 1);
		return predicate;
	}

	#space(): void {
		while (this.#at < this.#text.length && /\s/.test(this.#text.charAt(this.#at))) this.#at++;
	}

	/** The keyword, if it comes next as a word of its own; then it is behind us. */
	#keyword(word: string): boolean {
		if (lower(this.#peekWord()) !== word) return false;
		this.#at += word.length;
		this.#space();
		return true;
	}

	#peekWord(): string {
		return /^[^\s()"]*/.exec(this.#text.slice(this.#at, this.#at + QUERY_BYTES))?.[0] ?? '';
	}

	#or(): Predicate {
		const choices = [this.#and()];
		while (this.#keyword('or')) choices.push(this.#and());
		return choices.reduce((first, second) => (row, now) => first(row, now) || second(row, now));
	}

	#and(): Predicate {
		const terms = [this.#not()];
		while (this.#at < this.#text.length && this.#text[this.#at] !== ')' && lower(this.#peekWord()) !== 'or') {
			this.#keyword('and');
			terms.push(this.#not());
		}
		return terms.reduce((first, second) => (row, now) => first(row, now) && second(row, now));
	}

	#not(): Predicate {
		let negated = false;
		for (;;) {
			if (this.#text[this.#at] === '-') {
				this.#at++;
				this.#space();
			} else if (!this.#keyword('not')) break;
			negated = !negated;
		}
		const term = this.#term();
		this.#space();
		return negated ? (row, now) => !term(row, now) : term;
	}

	#term(): Predicate {
		const start = this.#at;
		const next = this.#text[start];
		if (next === '(') return this.#group();
		if (next === undefined || next === ')') throw new QueryError('term', start + 1);
		if (++this.#terms > QUERY_TERMS) throw new QueryError('terms', start + 1);
		if (next === '"') return bareWord(this.#quoted());
		const word = this.#peekWord();
		if (lower(word) === 'and' || lower(word) === 'or') throw new QueryError('term', start + 1);
		const colon = word.indexOf(':');
		if (colon >= 0) return this.#field(word.slice(0, colon));
		this.#at += word.length;
		return bareWord({ text: word, quoted: false });
	}

	#group(): Predicate {
		const open = this.#at + 1;
		if (++this.#depth > QUERY_DEPTH) throw new QueryError('depth', open);
		this.#at++;
		this.#space();
		const inside = this.#or();
		if (this.#text[this.#at] !== ')') throw new QueryError('open', open);
		this.#at++;
		this.#depth--;
		return inside;
	}

	#field(name: string): Predicate {
		const make = Object.hasOwn(FIELDS, lower(name)) ? FIELDS[lower(name)] : undefined;
		if (!make) throw new QueryError('field', this.#at + 1);
		this.#at += name.length + 1;
		const column = this.#at + 1;
		if (this.#text[this.#at] === '"') return make(this.#quoted(), column);
		const text = this.#peekWord();
		if (!text) throw new QueryError('value', column);
		this.#at += text.length;
		return make({ text, quoted: false }, column);
	}

	#quoted(): Value {
		const start = this.#at;
		const end = this.#text.indexOf('"', start + 1);
		if (end < 0) throw new QueryError('quote', start + 1);
		this.#at = end + 1;
		return { text: this.#text.slice(start + 1, end), quoted: true };
	}
}

/** Throws QueryError. */
export function compile(text: string): Predicate {
	if (new TextEncoder().encode(text).length > QUERY_BYTES) throw new QueryError('long', QUERY_BYTES + 1);
	return new Parser(text).parse();
}

/** `value` as it is written behind a field's colon; undefined when the language cannot say it. */
export function quote(value: string): string | undefined {
	if (value.includes('"')) return undefined;
	return value === '' || /[\s()*]/.test(value) ? `"${value}"` : value;
}
