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
	/** Rows that ever were. */
	total: number;
}

export const NOTHING: View = { processes: [], connections: [], rows: [], total: 0 };

export function viewOf(model: Model): View {
	const processes = [...model.nodes.values()].filter(({ kind }) => kind === 'process');
	const connections = [...model.edges.values()]
		.filter(({ kind }) => kind === 'connection')
		.map((edge) => ({ edge, from: model.nodes.get(edge.from), to: model.nodes.get(edge.to) }));
	return {
		processes: processes.sort((a, b) => a.label.localeCompare(b.label) || a.pid - b.pid),
		connections: connections.sort((a, b) => b.edge.rate - a.edge.rate || b.edge.bytes - a.edge.bytes || (a.edge.id < b.edge.id ? -1 : 1)),
		rows: model.rows.newestFirst(),
		total: model.rows.total,
	};
}

/** Ids of the nodes whose text has all the words. */
export function search(model: Model, text: string, labelOf: (node: LiveNode) => string): Set<string> | undefined {
	const words = text.toLowerCase().split(/\s+/).filter(Boolean);
	if (!words.length) return undefined;
	const found = new Set<string>();
	for (const node of model.nodes.values()) {
		const all = `${labelOf(node)} ${node.pid || ''} ${node.detail} ${node.label}`.toLowerCase();
		if (words.every((word) => all.includes(word))) found.add(node.id);
	}
	return found;
}

const two = (value: number) => String(value).padStart(2, '0');

/** 12:03:04, in the browser's time zone. */
export function clockTime(microseconds: number): string {
	const date = new Date(microseconds / 1000);
	return Number.isNaN(date.getTime()) ? '' : `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
