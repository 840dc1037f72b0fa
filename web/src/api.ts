// Calls of the server's REST interface.  Every failure becomes an ApiFailure with what, why, what to do and the id that the log also has.
import { client, type Method, type Problem } from './api.generated';

export type * from './api.generated';

export class ApiFailure extends Error {
	constructor(
		readonly status: number,
		readonly problem: Problem,
		/** Seconds to wait before the next try; 0 = none. */
		readonly retryAfter = 0,
	) {
		super(problem.what);
	}

	get code(): string {
		return this.problem.error;
	}
}

export const STEP_UP_WANTED = 'E1226';
export const CODE_WANTED = 'E1224';
export const SESSION_ENDED = 'E1220';

/** What the shell does when a call says that something is needed first. */
export interface Hooks {
	/** The session is gone. */
	sessionEnded(): void;
	/** Asks for the password once more; true = proved, the call is made again. */
	stepUp(): Promise<boolean>;
	/** What a failure without an answer is called. */
	unreachable(): Problem;
}

let hooks: Hooks | undefined;

export function setHooks(chosen: Hooks): void {
	hooks = chosen;
}

async function failureOf(response: Response): Promise<ApiFailure> {
	let problem: Problem = { error: `HTTP ${response.status}`, what: response.statusText, why: '', try: '', id: '' };
	try {
		problem = { ...problem, ...((await response.json()) as Partial<Problem>) };
	} catch {
		// Not from the server itself: the status has to do.
	}
	return new ApiFailure(response.status, problem, Number(response.headers.get('retry-after') ?? 0) || 0);
}

async function once<T>(method: Method, path: string, body?: unknown): Promise<T> {
	const init: RequestInit = { method, headers: { 'x-murmesh': '1' }, credentials: 'same-origin', cache: 'no-store' };
	if (body !== undefined) {
		init.body = JSON.stringify(body);
		init.headers = { ...init.headers, 'content-type': 'application/json' };
	}
	let response: Response;
	try {
		response = await fetch(path, init);
	} catch {
		throw new ApiFailure(0, hooks?.unreachable() ?? { error: '', what: '', why: '', try: '', id: '' });
	}
	if (!response.ok) throw await failureOf(response);
	return (response.status === 204 ? undefined : await response.json()) as T;
}

async function call<T>(method: Method, path: string, body?: unknown): Promise<T> {
	try {
		return await once<T>(method, path, body);
	} catch (failure) {
		if (!(failure instanceof ApiFailure) || !hooks) throw failure;
		if (failure.code === STEP_UP_WANTED && (await hooks.stepUp())) return once<T>(method, path, body);
		if (failure.code === SESSION_ENDED) hooks.sessionEnded();
		throw failure;
	}
}

export const api = client(call);

export const openTerminal = async (device: string, columns: number, rows: number, terminal?: string) =>
	(await api.openTerminal(device, { columns, rows, ...(terminal && { terminal }) })).ticket;
