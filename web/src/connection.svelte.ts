// The page's one connection for what changes by itself, and whether it holds.
import { api } from './api';
import { Socket, type Status } from './socket';

export const connection = $state<{ status: Status; seconds: number; lost: boolean }>({
	status: { state: 'idle' },
	seconds: 0,
	lost: false,
});

let countdown: ReturnType<typeof setInterval> | undefined;

function show(status: Status): void {
	connection.status = status;
	if (status.state === 'open' || status.state === 'idle') connection.lost = false;
	clearInterval(countdown);
	if (status.state !== 'waiting') return;
	connection.lost = true;
	const count = () => (connection.seconds = Math.max(1, Math.ceil((status.until - Date.now()) / 1000)));
	count();
	countdown = setInterval(count, 250);
}

export const socket = new Socket({
	async open() {
		const opened = early.opened;
		early.opened = undefined;
		return opened ?? { socket: early.dial((await api.socketTicket()).ticket), asked: [], received: [] };
	},
	now: () => Date.now(),
	after: (milliseconds, action) => setTimeout(action, milliseconds),
	cancel: (timer) => clearTimeout(timer as number),
	status: show,
});
