// Made by tools/api_client.py from the server's table of routes: do not edit.

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
/** Sends one request and gives back its parsed answer. */
export type Call = <T>(method: Method, path: string, body?: unknown) => Promise<T>;

export interface Problem {
	error: string;
	what: string;
	why: string;
	try: string;
	id: string;
}

export interface Login {
	account: Account;
	expires: number;
}

export interface Account {
	id: string;
	name: string;
	role: 'viewer' | 'operator' | 'administrator';
	all_groups: boolean;
	groups: string[];
	setup_wanted: boolean;
	totp: boolean;
	proved_until: number;
}

export interface TotpSecret {
	secret: string;
	uri: string;
}

export interface Session {
	id: string;
	created: number;
	expires: number;
	seen: number;
	address: string;
	own: boolean;
}

export interface DeviceDetail {
	device: Device;
	inventory: Inventory | null;
	inventory_time: number;
	inventory_refused: number;
	certificate_expires: number;
	created: number;
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
	parent_id: string | null;
	component: string;
	relay: boolean;
	relay_address: string;
	last_seen: number;
	group: string;
	tags: string[];
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

export interface Path {
	hops: Hop[];
}

export interface Hop {
	full_name: string;
	microseconds: number;
	error: number;
}

export interface DevicesChanged {
	count: number;
}

export interface Queue {
	device: string;
	name: string;
	full_name: string;
	online: boolean;
	waiting: number;
	sent: number;
	bytes: number;
	oldest: number;
	expired: number;
	limit: number;
	damaged: number;
	refused: number;
	loop: number;
	dead_last: number;
}

export interface JoinKey {
	join: string;
	expires: number;
}

export interface Approval {
	device: string;
	name: string;
	full_name: string;
	group: string;
	os: string;
	arch: string;
	version: string;
	kind: 'new' | 'renewal' | 'copy' | 'component';
	fingerprint: string;
	address: string;
	roles: string;
	reach: string;
	asked: number;
}

export interface User {
	id: string;
	name: string;
	role: 'viewer' | 'operator' | 'administrator';
	all_groups: boolean;
	groups: string[];
	totp: boolean;
	password: boolean;
	created: number;
	disabled: number;
	last_login: number;
}

export interface UserLink {
	user: User;
	login: string;
}

export interface LoginLink {
	login: string;
}

export interface AuditRow {
	sequence: number;
	time: number;
	actor: string;
	action: string;
	object: string;
	detail: string;
}

export interface AuditVerdict {
	records: number;
	first_bad: number;
}

export interface PortMap {
	id: string;
	user: string;
	device: string;
	full_name: string;
	target: string;
	sent: number;
	received: number;
	path: string[];
	since: number;
	ended: number;
	error: number;
	why: string;
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

export interface Ticket {
	ticket: string;
}

export type FleetChange =
	| { device: Device }
	| { removed: string }
	| { complete: boolean };

export type TaskChange =
	| { task: Task }
	| { complete: boolean };

export type LiveChange =
	| { node: LiveNode }
	| { node_removed: string }
	| { edge: LiveEdge }
	| { edge_removed: string }
	| { row: LiveRow }
	| { missing: LiveMissing }
	| { source: LiveSource }
	| { complete: boolean };

export interface LiveNode {
	id: string;
	kind: string;
	label: string;
	device: string | null;
	x: number;
	y: number;
	count: number;
	pid: number;
	detail: string;
}

export interface LiveEdge {
	id: string;
	from: string;
	to: string;
	kind: string;
	bytes: number;
	rate: number;
}

export interface LiveRow {
	time_us: number;
	device: string | null;
	module: string;
	event: string;
	subject: string;
	object: string;
	bytes: number;
	detail: string;
	pid: number;
}

export interface LiveMissing {
	device: string | null;
	events: number;
	since_us: number;
	not_shown: boolean;
}

export interface LiveSource {
	device: string | null;
	module: string;
	text: string;
}

export type ApprovalChange =
	| { approval: Approval }
	| { decided: string }
	| { complete: boolean };

export type MapChange =
	| { map: PortMap }
	| { removed: string }
	| { complete: boolean };

export interface WatchOrder {
	op: 'subscribe' | 'unsubscribe';
	channel: 'fleet' | 'tasks' | 'live' | 'approvals' | 'maps';
	device?: string;
	since?: number;
	epoch?: string;
}

function withQuery(path: string, query: Record<string, string | number | undefined>): string {
	const words = new URLSearchParams();
	for (const [name, value] of Object.entries(query)) if (value !== undefined) words.set(name, String(value));
	const text = words.toString();
	return text ? `${path}?${text}` : path;
}

export function client(call: Call) {
	return {
		/** A one-time link for a session. */
		loginByLink: (body: { token: string }) =>
			call<Login>('POST', '/api/login/link', body),
		/** Name, password and code for a session. */
		login: (body: { name: string; password: string; code?: string }) =>
			call<Login>('POST', '/api/login', body),
		/** Ends the session (viewer). */
		logout: () =>
			call<undefined>('POST', '/api/logout'),
		/** Who is logged in (viewer). */
		me: () =>
			call<Account>('GET', '/api/me'),
		/** Who came by a link chooses a password; the first administrator a name too (viewer). */
		setup: (body: { name: string; password: string }) =>
			call<Account>('POST', '/api/me/setup', body),
		/** A new authenticator secret (viewer). */
		newTotp: () =>
			call<TotpSecret>('POST', '/api/me/totp'),
		/** Turns the authenticator on (viewer). */
		confirmTotp: (body: { code: string }) =>
			call<Account>('PUT', '/api/me/totp', body),
		/** Turns the authenticator off (viewer). */
		forgetTotp: (body: { password: string; code?: string }) =>
			call<Account>('DELETE', '/api/me/totp', body),
		/** Another password (viewer). */
		changePassword: (body: { password: string; code?: string; chosen: string }) =>
			call<Account>('PUT', '/api/me/password', body),
		/** Proves once more who it is, for ten minutes (viewer). */
		stepUp: (body: { password: string; code?: string }) =>
			call<Account>('POST', '/api/me/step-up', body),
		/** Where one is logged in (viewer). */
		sessions: () =>
			call<Session[]>('GET', '/api/me/sessions'),
		/** Ends one of them (viewer). */
		endSession: (id: string) =>
			call<undefined>('DELETE', `/api/me/sessions/${id}`),
		/** One device (viewer). */
		device: (id: string) =>
			call<DeviceDetail>('GET', `/api/devices/${id}`),
		/** Changes one device (administrator). */
		changeDevice: (id: string, body: { name?: string; group?: string; add_tags?: string[]; remove_tags?: string[]; parent?: string; relay?: boolean }) =>
			call<undefined>('PATCH', `/api/devices/${id}`, body),
		/** Takes one out of the mesh (administrator, with a fresh proof). */
		deleteDevice: (id: string) =>
			call<undefined>('DELETE', `/api/devices/${id}`),
		/** How long it takes to one device and back, and to each relay on the way (viewer). */
		pingDevice: (id: string) =>
			call<Path>('GET', `/api/devices/${id}/ping`),
		/** Changes all devices of a query (taking them out with a fresh proof) (administrator). */
		changeDevices: (body: { query: string; count: number; group?: string; add_tags?: string[]; remove_tags?: string[]; parent?: string; retire?: boolean }) =>
			call<DevicesChanged>('POST', '/api/devices/change', body),
		/** What waits for which devices, and what was dropped and why (viewer). */
		queues: (query: { query?: string } = {}) =>
			call<Queue[]>('GET', withQuery('/api/queues', query)),
		/** A line for machines to join with (for more than 100, or for more than 30 days, with a fresh proof) (administrator). */
		newKey: (body: { uses?: number; lifetime_s?: number; group?: string; approve?: boolean; network?: string }) =>
			call<JoinKey>('POST', '/api/keys', body),
		/** Machines that wait for approval, oldest first (administrator). */
		approvals: () =>
			call<Approval[]>('GET', '/api/approvals'),
		/** Lets a machine in, or refuses it (administrator). */
		decideApproval: (id: string, body: { approve: boolean; same?: boolean }) =>
			call<Approval>('POST', `/api/approvals/${id}`, body),
		/** All users (administrator of all groups). */
		users: () =>
			call<User[]>('GET', '/api/users'),
		/** A new user, and his one-time link (administrator of all groups, with a fresh proof). */
		addUser: (body: { name: string; role: 'viewer' | 'operator' | 'administrator'; all_groups?: boolean; groups?: string[] }) =>
			call<UserLink>('POST', '/api/users', body),
		/** Changes a user (administrator of all groups, with a fresh proof). */
		changeUser: (id: string, body: { role?: 'viewer' | 'operator' | 'administrator'; all_groups?: boolean; groups?: string[]; disabled?: boolean; forget_totp?: boolean }) =>
			call<User>('PATCH', `/api/users/${id}`, body),
		/** A one-time link for a user (administrator of all groups, with a fresh proof). */
		newUserLink: (id: string) =>
			call<LoginLink>('POST', `/api/users/${id}/login-link`),
		/** What was done, the newest first (administrator of all groups). */
		audit: (query: { limit?: number; before?: number; text?: string } = {}) =>
			call<AuditRow[]>('GET', withQuery('/api/audit', query)),
		/** Whether nobody has changed it (administrator of all groups). */
		verifyAudit: () =>
			call<AuditVerdict>('GET', '/api/audit/verify'),
		/** Open tunnels, and those that failed lately: one's own, and those to devices that one may operate (operator). */
		maps: () =>
			call<PortMap[]>('GET', '/api/maps'),
		/** Ends an open one at once (operator). */
		endMap: (id: string) =>
			call<undefined>('DELETE', `/api/maps/${id}`),
		/** Runs a command on all devices of a query (operator). */
		startTask: (body: { query?: string; count?: number; argv?: string[]; retry?: string }) =>
			call<Task>('POST', '/api/tasks', body),
		/** How it went on each device (viewer). */
		taskDevices: (id: string) =>
			call<TaskRow[]>('GET', `/api/tasks/${id}/devices`),
		/** Stops what is under way (operator). */
		cancelTask: (id: string) =>
			call<Task>('POST', `/api/tasks/${id}/cancel`),
		/** A ticket for /ws/terminal (operator). */
		openTerminal: (id: string, body: { columns: number; rows: number; terminal?: string }) =>
			call<Ticket>('POST', `/api/devices/${id}/terminals`, body),
		/** A ticket for /ws (viewer). */
		socketTicket: () =>
			call<Ticket>('POST', '/api/ws-ticket'),
	};
}
