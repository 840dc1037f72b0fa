// What is there now, as the server's changes say.  Memory is bounded whatever comes.
import type { Batch } from '../socket';
import type { LiveChange, LiveEdge, LiveMissing, LiveNode, LiveRow } from './changes';
import { Log } from './log';

export const MOST_NODES = 500;
export const MOST_EDGES = 2000;
export const MOST_ROWS = 2000;
const MOST_NOTES = 1000;
const LONGEST = 512;

const cut = (text: unknown) => (typeof text === 'string' ? text.slice(0, LONGEST) : '');
const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const within = (value: unknown) => Math.max(-1, Math.min(1, number(value)));

export interface Source {
	device: string;
	module: string;
	text: string;
}

export class Model {
	nodes = new Map<string, LiveNode>();
	edges = new Map<string, LiveEdge>();
	rows = new Log<LiveRow>(MOST_ROWS);
	/** By device. */
	missing = new Map<string, LiveMissing>();
	/** By device and module. */
	sources = new Map<string, Source>();
	/** The snapshot is whole. */
	complete = false;
	/** There were more nodes than there is room for. */
	full = false;

	apply(batch: Batch<LiveChange>): void {
		if (batch.reset) this.#reset();
		for (const change of batch.events) this.#change(change);
	}

	#reset(): void {
		this.nodes.clear();
		this.edges.clear();
		this.rows.clear();
		this.missing.clear();
		this.sources.clear();
		this.complete = false;
		this.full = false;
	}

	#change({ node, node_removed, edge, edge_removed, row, missing, source, complete }: LiveChange): void {
		if (node) this.#node(node);
		else if (node_removed !== undefined) this.nodes.delete(node_removed);
		else if (edge) this.#edge(edge);
		else if (edge_removed !== undefined) this.edges.delete(edge_removed);
		else if (row) this.#row(row);
		else if (missing) this.#note(this.missing, cut(missing.device), missing);
		else if (source) this.#note(this.sources, `${cut(source.device)} ${cut(source.module)}`, { ...source, text: cut(source.text) });
		else if (complete) this.complete = true;
	}

	#node(node: LiveNode): void {
		if (node.id.length > LONGEST) return;
		if (!this.nodes.has(node.id) && this.nodes.size >= MOST_NODES) {
			this.full = true;
			return;
		}
		this.nodes.set(node.id, {
			id: node.id,
			kind: node.kind,
			label: cut(node.label),
			device: cut(node.device),
			x: within(node.x),
			y: within(node.y),
			count: number(node.count),
			pid: number(node.pid),
			detail: cut(node.detail),
		});
	}

	#edge(edge: LiveEdge): void {
		if (edge.id.length > LONGEST || (!this.edges.has(edge.id) && this.edges.size >= MOST_EDGES)) return;
		this.edges.set(edge.id, {
			id: edge.id,
			from: cut(edge.from),
			to: cut(edge.to),
			kind: edge.kind,
			bytes: number(edge.bytes),
			rate: number(edge.rate),
		});
	}

	#row(row: LiveRow): void {
		this.rows.add({
			time_us: number(row.time_us),
			device: cut(row.device),
			module: cut(row.module),
			event: cut(row.event),
			subject: cut(row.subject),
			object: cut(row.object),
			bytes: number(row.bytes),
			detail: cut(row.detail),
			pid: number(row.pid),
		});
	}

	#note<Note>(notes: Map<string, Note>, key: string, note: Note): void {
		if (notes.has(key) || notes.size < MOST_NOTES) notes.set(key, note);
	}
}
