// Every text that people see.  Parts of the console have a file each.
import { approvals } from './en/approvals';
import { device } from './en/device';
import { fleet } from './en/fleet';
import { live } from './en/live';
import { login } from './en/login';
import { people } from './en/people';
import { relays } from './en/relays';
import { shell } from './en/shell';
import { tasks } from './en/tasks';
import { terminal } from './en/terminal';

export const t = { ...shell, approvals, device, fleet, live, login, people, relays, tasks, terminal };
