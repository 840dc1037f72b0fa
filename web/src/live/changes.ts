// What the channel `live` carries (proto/live.proto).

export interface LiveNode {
	/** Unique in this subscription. */
	id: string;
	kind: 'device' | 'process' | 'address' | 'more';
	label: string;
	device: string;
	/** -1 to 1, right and down. */
	x: number;
	y: number;
	/** Of `more`: how many it stands for. */
	count: number;
	pid: number;
	detail: string;
}

export interface LiveEdge {
	id: string;
	from: string;
	to: string;
	kind: 'child' | 'connection';
	/** Both directions, since it began. */
	bytes: number;
	/** Bytes a second. */
	rate: number;
}

export interface LiveRow {
	/** Microseconds since 1970, by the device's clock. */
	time_us: number;
	device: string;
	module: string;
	event: string;
	subject: string;
	object: string;
	bytes: number;
	detail: string;
	pid: number;
}

export interface LiveMissing {
	device: string;
	events: number;
	since_us: number;
}

export interface LiveSource {
	device: string;
	module: string;
	text: string;
}

export interface LiveChange {
	node?: LiveNode;
	node_removed?: string;
	edge?: LiveEdge;
	edge_removed?: string;
	row?: LiveRow;
	missing?: LiveMissing;
	source?: LiveSource;
	complete?: boolean;
}
