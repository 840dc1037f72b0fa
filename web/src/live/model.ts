// What is there now, as the server's changes say.  Memory is bounded whatever comes.
import type * as api from '../api.generated';
import type { Batch } from '../socket';
import { Log } from './log';

/** `device`: "" where no single one is meant. */
type Of<Message> = Omit<Message, 'device'> & { device: string };
export type LiveNode = Of<api.LiveNode>;
/** `number`: grows with each row. */
export type LiveRow = Of<api.LiveRow> & { number: number };
export type LiveMissing = Of<api.LiveMissing>;
export type LiveSource = Of<api.LiveSource>;
export type { LiveChange, LiveEdge } from '../api.generated';

export const MOST_NODES = 500;
export const MOST_EDGES = 2000;
export const MOST_ROWS = 2000;
const MOST_NOTES = 1000;
const LONGEST = 512;

const cut = (text: unknown) => (typeof text === 'string' ? text.slice(0, LONGEST) : '');
const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const within = (value: unknown) => Math.max(-1, Math.min(1, number(value)));

export class Model {
	nodes = new Map<string, LiveNode>();
	edges = new Map<string, api.LiveEdge>();
	rows = new Log<LiveRow>(MOST_ROWS);
	/** By device and kind. */
	missing = new Map<string, LiveMissing>();
	/** By device and module. */
	sources = new Map<string, LiveSource>();
	/** The snapshot is whole. */
	complete = false;
	/** There were more nodes than there is room for. */
	full = false;

	apply(batch: Batch<api.LiveChange>): void {
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

	#change(change: api.LiveChange): void {
		if ('node' in change) this.#node(change.node);
		else if ('node_removed' in change) this.nodes.delete(change.node_removed);
		else if ('edge' in change) this.#edge(change.edge);
		else if ('edge_removed' in change) this.edges.delete(change.edge_removed);
		else if ('row' in change) this.#row(change.row);
		else if ('missing' in change) this.#missing(change.missing);
		else if ('source' in change) this.#source(change.source);
		else this.complete = true;
	}

	#node(node: api.LiveNode): void {
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

	#edge(edge: api.LiveEdge): void {
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

	#row(row: api.LiveRow): void {
		this.rows.add({
			number: this.rows.total,
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

	#missing({ device, events, since_us, not_shown }: api.LiveMissing): void {
		const key = `${cut(device)} ${not_shown}`;
		if (this.missing.has(key) || this.missing.size < MOST_NOTES)
			this.missing.set(key, { device: cut(device), events: number(events), since_us: number(since_us), not_shown });
	}

	#source({ device, module, text }: api.LiveSource): void {
		const key = `${cut(device)} ${cut(module)}`;
		if (this.sources.has(key) || this.sources.size < MOST_NOTES) this.sources.set(key, { device: cut(device), module: cut(module), text: cut(text) });
	}
}
