// Short notes in the corner: what was done, what failed.
import { ApiFailure } from './api';
import { t } from './messages/en';
import type { Problem } from './types';

export interface Toast {
	id: number;
	text: string;
	problem?: Problem;
	/** "Copy as command", where what was done has one. */
	command?: string;
}

const SHOWN_MS = 6000;

export const toasts = $state<{ list: Toast[] }>({ list: [] });

let last = 0;

function show(toast: Omit<Toast, 'id'>): void {
	const id = ++last;
	toasts.list = [...toasts.list.slice(-3), { ...toast, id }];
	if (!toast.problem) setTimeout(() => dismiss(id), SHOWN_MS);
}

export function dismiss(id: number): void {
	toasts.list = toasts.list.filter((toast) => toast.id !== id);
}

export function done(text: string, command?: string): void {
	show({ text, ...(command && { command }) });
}

export function problemOf(failure: unknown): Problem {
	if (failure instanceof ApiFailure) return failure.problem;
	return { error: '', what: t.problem.unexpected, why: String(failure), try: t.problem.reload, id: '' };
}

export function failed(failure: unknown): void {
	const problem = problemOf(failure);
	show({ text: problem.what, problem });
}
