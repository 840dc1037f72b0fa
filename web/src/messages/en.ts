// Every text that people see.  Parts of the console have a file each.
import { live } from './en/live';
import { shell } from './en/shell';
import { terminal } from './en/terminal';

export const t = { ...shell, live, terminal };
