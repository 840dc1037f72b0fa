// The tasks that the user may see, as they go on, and the drawer that shows them.
import { api, type Task, type TaskChange } from '../api';
import type { Socket } from '../socket';
import type { Problem } from '../types';

const OPEN = 'murmesh.tasks';

export const tasks = $state<{ list: Task[]; complete: boolean; problem: Problem | null; open: boolean; chosen: string }>({
	list: [],
	complete: false,
	problem: null,
	open: false,
	chosen: '',
});

const byId = new Map<string, Task>();
let stop: (() => void) | undefined;

function publish(): void {
	tasks.list = [...byId.values()].sort((a, b) => b.started - a.started || (a.id < b.id ? 1 : -1));
}

function keep(): void {
	sessionStorage.setItem(OPEN, tasks.open ? `open ${tasks.chosen}` : '');
}

export function startTasks(socket: Socket): void {
	stop?.();
	const [open, chosen] = (sessionStorage.getItem(OPEN) ?? '').split(' ');
	tasks.open = open === 'open';
	tasks.chosen = chosen ?? '';
	stop = socket.subscribe<TaskChange>('tasks', {
		batch(batch) {
			tasks.problem = null;
			if (batch.reset) byId.clear();
			for (const event of batch.events) {
				if ('task' in event) byId.set(event.task.id, event.task);
				else tasks.complete = true;
			}
			publish();
		},
		failed: (problem) => (tasks.problem = problem),
	});
}

export function endTasks(): void {
	stop?.();
	stop = undefined;
	byId.clear();
	publish();
	tasks.complete = false;
	tasks.open = false;
}

export function showTasks(open: boolean, chosen = ''): void {
	tasks.open = open;
	if (chosen || !open) tasks.chosen = chosen;
	keep();
}

export function chooseTask(id: string): void {
	tasks.chosen = tasks.chosen === id ? '' : id;
	keep();
}

function took(task: Task): Task {
	if (!byId.has(task.id)) byId.set(task.id, task);
	publish();
	return task;
}

export async function run(query: string, count: number, argv: string[]): Promise<Task> {
	return took(await api.startTask({ query, count, argv }));
}

export async function retry(id: string): Promise<Task> {
	return took(await api.startTask({ retry: id }));
}

export async function cancel(id: string): Promise<void> {
	await api.cancelTask(id);
}
