/* server/main.h: what the monitor of core's machine and that of another machine of the server share. */
#ifndef SERVER_MAIN_H
#define SERVER_MAIN_H
#include "ca/join_line.h"
#include "priv/daemon.h"

extern const struct conf_table server_conf_table;

struct options {
	const char *directory, *address;
	int port; /* -1 = as configured */
	int status_fd;
	/* of another machine of the server: */
	const char *core, *join, *name; /* join: a file, or "-" */
	uint32_t roles;                 /* bits of ComponentRole; 0 = this is core's machine */
};

struct server {
	struct daemon daemon;
	struct options options;
	char address[300], settings[2048];
	uint16_t port;
	bool any_port; /* a free one was asked for: then also for what is not configured */
	int front, core;
	struct listener {
		int fd; /* -1 = not open */
		uint16_t port;
	} ior, tls, iiop;
	bool orb;
	char join[JOIN_LINE_SIZE]; /* of another machine, while it is not enrolled */
};

/* The program `murmesh` beside this one, for people to download; negative: there is none. */
int server_download_open(void);
/* Opens the port of the front; 0, or an exit code. */
int server_front_open(struct server *server);
/* A configured address as host or host:port; "" when there is none. */
void server_address_text(const struct conf *conf, const char *section, const char *key, char out[300]);
/* The address for other machines: as given on the command line or configured, with our port where it names none. */
void server_address_make(struct server *server);

/* ---- main_component.c: another machine of the server ---- */
int component_role_main(const char *role);
int component_main(struct server *server);
#endif
