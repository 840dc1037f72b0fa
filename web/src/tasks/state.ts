// The chip that shows how something went.
export function chipOf(state: string): string {
	if (state === 'done') return 'good';
	if (state === 'failed') return 'bad';
	if (state === 'interrupted' || state === 'cancelled') return 'warn';
	return state === 'running' ? 'accent' : '';
}
