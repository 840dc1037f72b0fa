// The model as the tables show it, taken a few times a second.
import type { LiveEdge, LiveNode, LiveRow } from './model';
import type { Model } from './model';

export interface Connection {
	edge: LiveEdge;
	from: LiveNode | undefined;
	to: LiveNode | undefined;
}

export interface View {
	processes: LiveNode[];
	connections: Connection[];
	rows: LiveRow[];
}

export const NOTHING: View = { processes: [], connections: [], rows: [] };

/** Whether a text has all the words. */
export type Matcher = (text: string) => boolean;

export function matcher(words: string): Matcher {
	const all = words.toLowerCase().split(/\s+/).filter(Boolean);
	return (text) => {
		if (!all.length) return true;
		const lower = text.toLowerCase();
		return all.every((word) => lower.includes(word));
	};
}

const textOf = (node: LiveNode | undefined) => (node ? `${node.label} ${node.pid || ''} ${node.detail}` : '');

export function viewOf(model: Model): View {
	const processes = [...model.nodes.values()].filter(({ kind }) => kind === 'process');
	const connections = [...model.edges.values()]
		.filter(({ kind }) => kind === 'connection')
		.map((edge) => ({ edge, from: model.nodes.get(edge.from), to: model.nodes.get(edge.to) }));
	return {
		processes: processes.sort((a, b) => a.label.localeCompare(b.label) || a.pid - b.pid),
		connections: connections.sort((a, b) => b.edge.rate - a.edge.rate || b.edge.bytes - a.edge.bytes || (a.edge.id < b.edge.id ? -1 : 1)),
		rows: model.rows.newestFirst(),
	};
}

export function narrowed(view: View, matches: Matcher): View {
	return {
		processes: view.processes.filter((node) => matches(textOf(node))),
		connections: view.connections.filter(({ from, to }) => matches(`${textOf(from)} ${textOf(to)}`)),
		rows: view.rows.filter((row) => matches(`${row.event} ${row.subject} ${row.object} ${row.detail}`)),
	};
}

/** Ids of the nodes that match. */
export function search(model: Model, matches: Matcher, labelOf: (node: LiveNode) => string): Set<string> {
	return new Set([...model.nodes.values()].filter((node) => matches(`${labelOf(node)} ${textOf(node)}`)).map(({ id }) => id));
}

const two = (value: number) => String(value).padStart(2, '0');

/** 12:03:04, in the browser's time zone. */
export function clockTime(microseconds: number): string {
	const date = new Date(microseconds / 1000);
	return Number.isNaN(date.getTime()) ? '' : `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
