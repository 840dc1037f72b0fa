import { number } from '../../ui/text';

const devices = (n: number) => `${number(n)} ${n === 1 ? 'device' : 'devices'}`;

export const tasks = {
	title: 'Tasks',
	drawer: 'Tasks',
	empty: 'Nothing has been run yet',
	emptyText: 'Select devices in the fleet and run a command, or type:',
	example: "murmesh run 'tag:web' -- uptime",
	all: 'All tasks on a page of their own',
	state: {
		running: 'running',
		done: 'done',
		cancelled: 'cancelled',
		interrupted: 'interrupted',
		waiting: 'waiting',
		failed: 'failed',
	} as Record<string, string>,
	counts: (done: number, failed: number, total: number) =>
		`${number(done)} of ${devices(total)} done${failed ? `, ${number(failed)} failed` : ''}`,
	by: 'by',
	on: 'on',
	took: (span: string) => `took ${span}`,
	cancel: 'Cancel',
	cancelled: 'Task cancelled',
	retry: 'Retry the failed',
	retried: 'Started again on those that failed',
	code: (code: number) => `exit code ${code}`,
	noOutput: 'no output',
	more: (n: number) => `Show ${number(n)} more`,
};
