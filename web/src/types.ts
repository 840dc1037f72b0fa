// What the REST interface and the WebSocket carry.  Ids are 32 lower-case hex digits, times seconds since 1970.

export interface Problem {
	error: string;
	what: string;
	why: string;
	try: string;
	id: string;
}

export type Role = 'viewer' | 'operator' | 'administrator';

export interface Account {
	id: string;
	name: string;
	role: Role;
	all_groups: boolean;
	groups: string[];
	setup_wanted: boolean;
	totp: boolean;
	proved_until: number;
}

export interface Device {
	id: string;
	name: string;
	full_name: string;
	online: boolean;
	os: string;
	arch: string;
	version: string;
	parent: string;
	last_seen: number;
	group: string;
	tags: string[];
}

export interface FileSystem {
	path: string;
	type: string;
	size: number;
	available: number;
}

export interface NetworkInterface {
	name: string;
	hardware: string;
	addresses: string[];
}

export interface Inventory {
	kernel: string;
	os: string;
	processor: string;
	processors: number;
	memory: number;
	memory_available: number;
	boot_time: number;
	file_systems: FileSystem[];
	interfaces: NetworkInterface[];
}

export interface DeviceDetail {
	device: Device;
	inventory: Inventory | null;
	inventory_time: number;
	certificate_expires: number;
	created: number;
}

export interface Session {
	id: string;
	created: number;
	expires: number;
	seen: number;
	address: string;
	own: boolean;
}

export interface User {
	id: string;
	name: string;
	role: Role;
	all_groups: boolean;
	groups: string[];
	totp: boolean;
	password: boolean;
	created: number;
	disabled: number;
	last_login: number;
}

export interface AuditRow {
	sequence: number;
	time: number;
	actor: string;
	action: string;
	object: string;
	detail: string;
}

export interface Task {
	id: string;
	title: string;
	selector: string;
	user: string;
	started: number;
	ended: number;
	total: number;
	done: number;
	failed: number;
	state: 'running' | 'done' | 'cancelled' | 'interrupted';
}

export interface TaskRow {
	device: string;
	name: string;
	state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';
	code: number;
	error: number;
	output: string;
}
