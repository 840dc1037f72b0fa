// One terminal on a device: a ticket, a WebSocket, bytes both ways.  When the link breaks, it comes back to the same terminal.
// No part of this knows Svelte, xterm.js or the page: see pane.svelte.
import type { Problem } from '../types';

export interface Size {
	columns: number;
	rows: number;
}

export interface Exit {
	code: number;
	signal: number;
}

export type State =
	| { name: 'connecting' }
	| { name: 'open' }
	/** The link broke; `until`: milliseconds as Date.now() says. */
	| { name: 'waiting'; until: number }
	| { name: 'ended'; exit: Exit }
	| { name: 'failed'; problem: Problem };

/** What a session needs of the outside. */
export interface Outside {
	/** `terminal`: the one to come back to, "" = a new one. */
	ticket(size: Size, terminal: string): Promise<string>;
	open(ticket: string): WebSocket;
	/** What the server refused; undefined: it could not be reached. */
	problem(failure: unknown): Problem | undefined;
	now(): number;
	after(milliseconds: number, action: () => void): unknown;
	cancel(timer: unknown): void;
	state(state: State): void;
	/** Its id: kept, it names the terminal after a reload. */
	opened(id: string): void;
	/** Everything shown so far is said again. */
	clear(): void;
	/** Calls `shown` when the bytes are on the screen: until then they count against the 256 KiB that the server sends ahead. */
	data(bytes: Uint8Array, shown: () => void): void;
}

interface Message {
	opened?: string;
	exit?: Exit;
	error?: Problem;
}

const WAITS = [1, 2, 4, 8, 15];
/** One frame with what is acknowledged in so many milliseconds instead of one for each chunk. */
const ACK_EVERY = 20;
/** Pasted text goes in pieces that the server takes as one frame. */
const CHUNK = 16384;

export class Session {
	#outside: Outside;
	#id: string;
	#size: Size;
	#socket: WebSocket | undefined;
	#timer: unknown;
	#ackTimer: unknown;
	#shown = 0;
	#failures = 0;
	#attempt = 0;
	#over = false;

	constructor(outside: Outside, size: Size, id = '') {
		this.#outside = outside;
		this.#size = size;
		this.#id = id;
	}

	/** Now, also when it was waiting to. */
	connect(): void {
		this.#drop();
		this.#over = false;
		void this.#connect(++this.#attempt);
	}

	/** Forgets the terminal: the next connect() opens a new one. */
	forget(): void {
		this.#id = '';
	}

	send(bytes: Uint8Array): void {
		if (this.#socket?.readyState !== 1) return;
		for (let start = 0; start < bytes.length; start += CHUNK) this.#socket.send(bytes.subarray(start, start + CHUNK) as Uint8Array<ArrayBuffer>);
	}

	resize(size: Size): void {
		if (size.columns === this.#size.columns && size.rows === this.#size.rows) return;
		this.#size = size;
		this.#say({ size });
	}

	/** The shell gets SIGHUP. */
	hangUp(): void {
		this.#say({ end: true });
	}

	/** The page goes; the terminal waits for its user. */
	leave(): void {
		this.#over = true;
		this.#attempt++;
		this.#drop();
	}

	#say(message: object): void {
		if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
	}

	#drop(): void {
		this.#outside.cancel(this.#timer);
		this.#outside.cancel(this.#ackTimer);
		this.#ackTimer = undefined;
		const socket = this.#socket;
		this.#socket = undefined;
		socket?.close();
	}

	#end(state: State): void {
		this.#over = true;
		this.#drop();
		this.#outside.state(state);
	}

	async #connect(attempt: number): Promise<void> {
		this.#outside.state({ name: 'connecting' });
		const size = this.#size;
		let ticket: string;
		try {
			ticket = await this.#outside.ticket(size, this.#id);
		} catch (failure) {
			if (attempt !== this.#attempt) return;
			const problem = this.#outside.problem(failure);
			if (problem) this.#end({ name: 'failed', problem });
			else this.#wait();
			return;
		}
		if (attempt !== this.#attempt) return;
		const socket = this.#outside.open(ticket);
		socket.binaryType = 'arraybuffer';
		this.#socket = socket;
		this.#shown = 0;
		socket.onmessage = (event: MessageEvent) => {
			if (this.#socket !== socket) return;
			if (typeof event.data === 'string') this.#message(JSON.parse(event.data) as Message, size);
			else this.#bytes(socket, new Uint8Array(event.data as ArrayBuffer));
		};
		socket.onclose = () => {
			if (this.#socket !== socket) return;
			this.#socket = undefined;
			if (!this.#over) this.#wait();
		};
	}

	#message(message: Message, asked: Size): void {
		if (message.opened) {
			if (this.#id) this.#outside.clear();
			this.#id = message.opened;
			this.#failures = 0;
			this.#outside.opened(message.opened);
			this.#outside.state({ name: 'open' });
			if (asked !== this.#size) this.#say({ size: this.#size });
		} else if (message.exit) {
			this.#end({ name: 'ended', exit: message.exit });
		} else if (message.error) {
			this.#end({ name: 'failed', problem: message.error });
		}
	}

	#bytes(socket: WebSocket, bytes: Uint8Array): void {
		this.#outside.data(bytes, () => {
			if (this.#socket !== socket) return;
			this.#shown += bytes.length;
			this.#ackTimer ??= this.#outside.after(ACK_EVERY, () => {
				this.#ackTimer = undefined;
				this.#say({ ack: this.#shown });
			});
		});
	}

	#wait(): void {
		const seconds = WAITS[Math.min(this.#failures++, WAITS.length - 1)] ?? 15;
		this.#outside.state({ name: 'waiting', until: this.#outside.now() + seconds * 1000 });
		this.#timer = this.#outside.after(seconds * 1000, () => this.connect());
	}
}
