// Generated from proto/modules/ by tools/ggspec.py; do not edit.
export interface LiveModule {
  readonly name: string;
  readonly id: number;
  readonly title: string;
  readonly about: string;
  readonly columns: { readonly subject?: string; readonly object?: string; readonly detail?: string; readonly bytes?: string };
  readonly events: readonly { readonly name: string; readonly text: string }[];
  readonly nodes: readonly string[];
  readonly edges: readonly string[];
}

export const liveModules: readonly LiveModule[] = [
  {
    "name": "network",
    "id": 0,
    "title": "Network",
    "about": "Connections of a machine: with whom, by which process, how much.",
    "columns": {
      "subject": "Process",
      "object": "Other side",
      "detail": "Protocol",
      "bytes": "Bytes"
    },
    "events": [
      {
        "name": "newconn",
        "text": "a connection begins; in a keyframe: there is this connection"
      },
      {
        "name": "delconn",
        "text": "a connection has ended"
      }
    ],
    "nodes": [
      "address"
    ],
    "edges": [
      "connection"
    ]
  },
  {
    "name": "process",
    "id": 1,
    "title": "Processes",
    "about": "What starts, runs and ends on a machine.",
    "columns": {
      "subject": "Process",
      "object": "Parent or end",
      "detail": "Command line"
    },
    "events": [
      {
        "name": "fork",
        "text": "a process made another one; both run the same program"
      },
      {
        "name": "exec",
        "text": "a process runs a program; in a keyframe: there is this process"
      },
      {
        "name": "exit",
        "text": "a process has ended"
      }
    ],
    "nodes": [
      "process"
    ],
    "edges": [
      "child"
    ]
  }
];
