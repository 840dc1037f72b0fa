// Who is logged in, and what that lets him do.  The server decides; this only spares people buttons that would be refused.
import { ApiFailure, api, setHooks, type Account, type Problem } from './api';
import { socket } from './connection.svelte';
import { endApprovals, startApprovals } from './approvals/approvals.svelte';
import { endFleet, fleetArrived, startFleet } from './fleet/fleet.svelte';
import { t } from './messages/en';
import { here, navigate } from './router.svelte';
import { endTasks, startTasks } from './tasks/tasks.svelte';

interface Session {
	account: Account | null;
	problem: Problem | null;
	/** Waits for the answer of the step-up dialog. */
	proving: ((proved: boolean) => void) | null;
}

export const session = $state<Session>({ account: null, problem: null, proving: null });

export const may = {
	/** Commands and terminals. */
	get operate() {
		return session.account !== null && session.account.role !== 'viewer';
	},
	/** Join keys; names, groups and tags of devices; taking them out. */
	get administer() {
		return session.account?.role === 'administrator';
	},
	/** People and the audit log. */
	get govern() {
		return session.account?.role === 'administrator' && session.account.all_groups;
	},
};

let started = false;

export function begin(account: Account): void {
	session.account = account;
	session.problem = null;
	if (account.setup_wanted) socket.stop();
	if (started || account.setup_wanted) return;
	started = true;
	startFleet(socket);
	startTasks(socket);
	if (account.role === 'administrator') startApprovals(socket);
	socket.start();
}

function end(): void {
	session.account = null;
	started = false;
	socket.stop();
	endFleet();
	endTasks();
	endApprovals();
}

function toLogin(): void {
	if (here.route.page === 'login') return;
	const back = here.path + here.search;
	navigate(back === '/' ? '/login' : `/login?next=${encodeURIComponent(back)}`, { replace: true });
}

export async function load(): Promise<void> {
	const { account } = early;
	delete early.account;
	try {
		begin(account ?? (await api.me()));
	} catch (failure) {
		if (!(failure instanceof ApiFailure)) throw failure;
		if (failure.status === 401) toLogin();
		else session.problem = failure.problem;
	}
}

export async function logout(): Promise<void> {
	await api.logout();
	end();
	navigate('/login');
}

/** Returns when there is something to show. */
export async function startSession(): Promise<void> {
	setHooks({
		sessionEnded() {
			end();
			toLogin();
		},
		stepUp: () =>
			new Promise<boolean>((resolve) => {
				session.proving?.(false);
				session.proving = resolve;
			}).finally(() => (session.proving = null)),
		unreachable: () => ({ error: '', what: t.unreachable.what, why: t.unreachable.why, try: t.unreachable.try, id: '' }),
	});
	if (here.route.page === 'login') return;
	await load();
	if (started && here.route.page === 'fleet') await fleetArrived;
}
