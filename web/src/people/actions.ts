// What can be done with an account.
import type { User } from '../api';

export type PersonAction = 'change' | 'link' | 'disable' | 'enable' | 'forget';

export function actionsFor(user: User, own: boolean): PersonAction[] {
	if (user.disabled) return ['enable'];
	const actions: PersonAction[] = own ? ['link'] : ['change', 'link', 'disable'];
	if (user.totp && !own) actions.push('forget');
	return actions;
}
