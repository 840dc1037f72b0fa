// Machines that wait until somebody lets them in, as they come and go.
import { api, type Approval, type ApprovalChange } from '../api';
import type { Socket } from '../socket';
import type { Problem } from '../types';

export const approvals = $state<{ list: Approval[]; complete: boolean; problem: Problem | null }>({ list: [], complete: false, problem: null });

const byDevice = new Map<string, Approval>();
let stop: (() => void) | undefined;

function publish(): void {
	approvals.list = [...byDevice.values()].sort((a, b) => a.asked - b.asked || (a.full_name < b.full_name ? -1 : 1));
}

export function startApprovals(socket: Socket): void {
	stop?.();
	stop = socket.subscribe<ApprovalChange>('approvals', {
		batch(batch) {
			approvals.problem = null;
			if (batch.reset) byDevice.clear();
			for (const event of batch.events) {
				if ('approval' in event) byDevice.set(event.approval.device, event.approval);
				else if ('decided' in event) byDevice.delete(event.decided);
				else approvals.complete = true;
			}
			publish();
		},
		failed: (problem) => (approvals.problem = problem),
	});
}

export function endApprovals(): void {
	stop?.();
	stop = undefined;
	byDevice.clear();
	publish();
	approvals.complete = false;
}

export async function decide(device: string, approve: boolean, same = false): Promise<Approval> {
	const decided = await api.decideApproval(device, { approve, same });
	byDevice.delete(device);
	publish();
	return decided;
}
