/* The server's database: the real one, in a file of its own.  Each job is a transaction: it is there after its commit, and before that, when
 * the server dies meanwhile, it never was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "ca/continuity.h"
#include "ca/records.h"
#include "fleet/fleet.h"
#include "sim.h"

#define ASK_AGAIN (10 * SECOND)

struct job {
	struct store_job base;
	int (*run)(struct store_tx *tx, struct job *job);
	void (*committed)(struct job *job); /* may be NULL */
	void (*done)(struct job *job, int err);
	struct node *agent;
	unsigned agent_attempt, server_life;
	struct link *link;
	uint64_t shown, number;
	struct id token, device;
	bool again, frozen, decided;
};
static const char *const names[NAMES] = { "web", "database", "till" };
static struct store *store;
static char directory[64];

/* ---- the file ---- */

static void no_database(const char *why)
{
	fprintf(stderr, "the database of the simulation: %s\n", why);
	exit(1);
}

static void path_make(char path[80], const char *end)
{
	snprintf(path, 80, "%s/%s", directory, end);
}

/* In memory where the system has such a directory: what counts is what is committed, not when it comes to a disk. */
void registry_open(void)
{
	char path[80], detail[STORE_DETAIL_SIZE];
	snprintf(directory, sizeof directory, "%s/murmesh-sim-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(directory))
		no_database("no directory");
	path_make(path, "db");
	if (store_open(path, &store_schema_server, &store, detail) < 0)
		no_database(detail);
}

void registry_close(void)
{
	static const char *const ends[] = { "db", "db-wal", "db-shm" };
	char path[80];
	if (!store)
		return;
	store = store_free(store);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		path_make(path, ends[i]);
		unlink(path);
	}
	rmdir(directory);
}

/* ---- jobs ---- */

static int job_run(struct store_tx *tx, struct store_job *base)
{
	struct job *job = (struct job *)base;
	return job->run(tx, job);
}

static bool server_gone(const struct job *job)
{
	const struct node *server = &job->agent->world->nodes[0];
	return node_dying(server) || server->life != job->server_life;
}

static void on_done(void *subject, uint64_t err)
{
	struct job *job = subject;
	struct world *world = job->agent->world;
	if (server_gone(job)) {
		free(job);
		return;
	}
	world_touch(world, &world->nodes[0]);
	job->done(job, -(int)err);
}

/* Sometimes it dies in the middle. */
static void on_commit(void *subject, uint64_t argument)
{
	struct job *job = subject;
	struct world *world = job->agent->world;
	(void)argument;
	if (server_gone(job)) {
		free(job);
		return;
	}
	bool dies = !world->calm && chance(world, 1);
	fault_arm(dies ? (long)between(world, 1, 60) : 0);
	int err = store_run(store, &job->base);
	dies = dies && !fault_armed();
	fault_arm(0);
	if (err == 0 && job->committed)
		job->committed(job);
	if (dies) {
		world->nodes[0].disk.crashed = true;
		tally.commits_lost += err < 0;
	}
	world_later(world, between(world, 1, MILLISECOND), on_done, job, (uint64_t)-err);
}

static struct job *job_new(struct node *agent, struct link *link, int (*run)(struct store_tx *tx, struct job *job),
                           void (*committed)(struct job *job), void (*done)(struct job *job, int err))
{
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		abort();
	*job = (struct job){ .base.run = job_run, .run = run, .committed = committed, .done = done, .agent = agent, .link = link };
	job->agent_attempt = agent->attempt;
	return job;
}

static void job_submit(struct job *job)
{
	struct world *world = job->agent->world;
	job->server_life = world->nodes[0].life;
	world_later(world, between(world, 100, 20 * MILLISECOND), on_commit, job, 0);
}

static int64_t now_s(const struct job *job)
{
	return node_now_ms(&job->agent->world->nodes[0]) / 1000;
}

static struct str name_of(const struct node *agent)
{
	return str_from(names[agent->index % NAMES]);
}

/* ---- enrolment: as server/core_enrol.c and agent/net_enrol.c ---- */

static int token_run(struct store_tx *tx, struct job *job)
{
	const struct id *key = &job->agent->world->join_key;
	struct enrolment enrolment;
	struct join_key usable;
	int64_t number = 0;
	int err = ca_join_key_find(tx, key, now_s(job), &usable);
	if (err == 0)
		err = fleet_token_next(tx, name_of(job->agent), &number);
	if (err == 0)
		err = ca_enrolment_begin(tx, key, name_of(job->agent), number, now_s(job), &enrolment);
	if (err == 0)
		job->token = enrolment.token;
	job->number = (uint64_t)number;
	return err;
}

static void token_committed(struct job *job)
{
	struct world *world = job->agent->world;
	int64_t *last = &world->last_number[job->agent->index % NAMES];
	trace(world, &world->nodes[0], "gives number # to agent $", job->number, job->agent->index);
	tally.tokens++;
	if ((int64_t)job->number <= *last)
		world_fail(world, "token", "number %llu of %s is given again", (unsigned long long)job->number,
		           names[job->agent->index % NAMES]);
	*last = (int64_t)job->number;
}

/* Its key is made, and its request written, before it asks: a repeated one is the same. */
static int certificate_run(struct store_tx *tx, struct job *job)
{
	uint8_t csr_hash[HASH_SIZE] = { (uint8_t)job->agent->index };
	struct enrolment enrolment;
	struct device device;
	int err = ca_enrolment_complete(tx, &job->token, csr_hash, &job->device, now_s(job), &enrolment, &job->again);
	if (err < 0)
		return err;
	job->device = enrolment.device;
	job->number = (uint64_t)enrolment.number;
	if (job->again)
		return fleet_device_get(tx, &enrolment.device, &device);
	device = (struct device){ .id = enrolment.device, .token = enrolment.number, .created = now_s(job) };
	str_copy(str_from(enrolment.name), device.name, sizeof device.name);
	return fleet_device_add(tx, &device);
}

static void certificate_committed(struct job *job)
{
	struct node *agent = job->agent;
	struct world *world = agent->world;
	trace(world, &world->nodes[0], job->again ? "lets agent # in again, as number $" : "lets agent # in, as number $",
	      agent->index, job->number);
	if (!id_is_zero(&agent->id) && !id_equal(&agent->id, &job->device))
		world_fail(world, "token", "agent %u is two devices", agent->index);
	if (!job->again && ++world->enrolled > world->uses)
		world_fail(world, "token", "a join key for %lld lets %u in", (long long)world->uses, world->enrolled);
	agent->id = job->device;
}

static void on_reply(void *subject, uint64_t err)
{
	struct job *job = subject;
	struct node *agent = job->agent;
	struct world *world = agent->world;
	if (node_dying(agent) || agent->attempt != job->agent_attempt || !agent_reaches(agent)) {
		free(job);
		return;
	}
	world_touch(world, agent);
	if (err == 0 && job->run == token_run) {
		agent->kept.token = job->token;
	} else if (err == 0) {
		agent->kept.enrolled = true;
	} else if (-(int)err == -E_KEY_USED) {
		trace(world, agent, "cannot join: the key is used up", 0, 0);
		agent->stopped = true;
	} else if (-(int)err == -E_NOT_FOUND) { /* an hour has passed on the server's clock */
		agent->kept.token = (struct id){ 0 };
	} else {
		world_fail(world, "token", "agent %u is not let in: %s", agent->index, err_name(-(int)err));
	}
	free(job);
	agent->attempt++;
	agent_start(agent);
}

static void asked_done(struct job *job, int err)
{
	struct world *world = job->agent->world;
	world_later(world, between(world, 100, 60 * MILLISECOND), on_reply, job, (uint64_t)-err);
}

static void on_ask(void *subject, uint64_t attempt)
{
	struct node *agent = subject;
	struct world *world = agent->world;
	bool token = id_is_zero(&agent->kept.token);
	if (node_dying(agent) || agent->attempt != attempt || !agent_reaches(agent))
		return;
	struct job *job = job_new(agent, NULL, token ? token_run : certificate_run, token ? token_committed : certificate_committed,
	                          asked_done);
	job->token = agent->kept.token;
	chance_bytes(world, &job->device, sizeof job->device);
	job_submit(job);
}

static void on_ask_again(void *subject, uint64_t attempt)
{
	struct node *agent = subject;
	if (!node_dying(agent) && agent->attempt == attempt)
		registry_ask(agent);
}

void registry_ask(struct node *agent)
{
	struct world *world = agent->world;
	agent->attempt++;
	world_later(world, between(world, MILLISECOND, 80 * MILLISECOND), on_ask, agent, agent->attempt);
	world_later(world, ASK_AGAIN, on_ask_again, agent, agent->attempt);
}

/* ---- the thread through all links ---- */

static int hello_run(struct store_tx *tx, struct job *job)
{
	const struct id *id = &job->link->device->id;
	struct device device;
	bool now;
	int err = fleet_device_get(tx, id, &device);
	if (err == 0 && device.retired)
		err = -E_REVOKED;
	if (err == 0)
		err = ca_continuity_check(tx, id, job->shown, now_s(job), &now);
	job->frozen = err == -E_FROZEN;
	if (job->frozen)
		return 0; /* committed, and told */
	return err < 0 ? err : ca_continuity_next(tx, id, job->shown, &job->number);
}

static void hello_committed(struct job *job)
{
	struct node *device = job->link->device;
	struct world *world = device->world;
	uint64_t *newest = &world->newest[device->index];
	if (job->frozen) {
		trace(world, &world->nodes[0], "freezes device #, who showed $", device->index, job->shown);
		tally.frozen++;
		if (world->copied != device)
			world_fail(world, "thread", "device %u is frozen, and there is no copy of it", device->index);
		return;
	}
	if (job->shown < *newest)
		world_fail(world, "thread", "device %u goes on from %llu after it has kept %llu", device->index,
		           (unsigned long long)job->shown, (unsigned long long)*newest);
	if (job->number <= world->issued[device->index])
		world_fail(world, "thread", "device %u is given %llu again", device->index, (unsigned long long)job->number);
	*newest = job->shown;
	world->issued[device->index] = job->number;
}

static void on_decide(void *subject, uint64_t argument)
{
	(void)argument;
	registry_decide(subject);
}

static void hello_done(struct job *job, int err)
{
	struct link *link = job->link;
	struct world *world = link->world;
	link->hello = false;
	if (job->frozen && link->device->online)
		link_close(link->device->online, SERVER_SIDE, -E_FROZEN);
	if (job->frozen)
		world_later(world, between(world, SECOND, 10 * SECOND), on_decide, link->device, 0);
	err = job->frozen ? -E_FROZEN : err;
	if (err < 0)
		link_close(link, SERVER_SIDE, err);
	else if (link->open[SERVER_SIDE])
		server_welcome(link, job->number);
	free(job);
}

void registry_hello(struct link *link, uint64_t shown)
{
	struct job *job = job_new(link->agent, link, hello_run, hello_committed, hello_done);
	job->shown = shown;
	job_submit(job);
}

static int keep_run(struct store_tx *tx, struct job *job)
{
	return ca_continuity_keep(tx, &job->link->device->id, job->number);
}

static void keep_committed(struct job *job)
{
	uint64_t *newest = &job->agent->world->newest[job->link->device->index];
	if (job->number > *newest)
		*newest = job->number;
}

static void job_over(struct job *job, int err)
{
	(void)err;
	free(job);
}

void registry_keep(struct link *link, uint64_t number)
{
	struct job *job = job_new(link->agent, link, keep_run, keep_committed, job_over);
	job->number = number;
	job_submit(job);
}

/* ---- a person decides about a frozen device ---- */

static int decide_run(struct store_tx *tx, struct job *job)
{
	int err = ca_continuity_decide(tx, &job->agent->id, (enum ca_copy)job->number);
	job->decided = err == 0;
	return err == -E_NOT_FOUND ? 0 : err; /* it was decided before */
}

static void decide_committed(struct job *job)
{
	struct world *world = job->agent->world;
	if (!job->decided)
		return;
	trace(world, &world->nodes[0], "decides about device #: $", job->agent->index, job->number);
	if (job->number == CA_COPY_NONE)
		world->newest[job->agent->index] = 0;
}

void registry_decide(struct node *device)
{
	struct world *world = device->world;
	struct job *job = job_new(device, NULL, decide_run, decide_committed, job_over);
	job->number = chance_below(world, 3);
	job_submit(job);
}

static int split_run(struct store_tx *tx, struct job *job)
{
	return ca_continuity_let_in(tx, &job->device, job->shown);
}

/* With the line that it is given now it becomes a machine of its own. */
static void split_done(struct job *job, int err)
{
	trace(job->agent->world, job->agent, err == 0 ? "becomes a machine of its own" : "stays a copy: error #", (uint64_t)-err,
	      0);
	job->agent->stopped = true;
	free(job);
}

void registry_split(struct node *agent)
{
	struct job *job = job_new(agent, NULL, split_run, NULL, split_done);
	job->device = *node_own(agent);
	job->shown = agent->continuation;
	job_submit(job);
}

/* ---- a device is deleted ---- */

static int retire_run(struct store_tx *tx, struct job *job)
{
	int err = fleet_device_retire(tx, &job->agent->id, now_s(job));
	return err == -E_NOT_FOUND ? 0 : err; /* it was deleted before */
}

static void retire_committed(struct job *job)
{
	struct node *device = job->agent;
	trace(device->world, &device->world->nodes[0], "deletes agent #", device->index, 0);
	tally.retired += !device->retired;
	device->retired = true;
	LIST_EACH(at, &device->world->owed[device->index])
		list_remove(at);
}

static void retire_done(struct job *job, int err)
{
	if (err == 0)
		server_retire(job->agent);
	free(job);
}

void registry_retire(struct node *device)
{
	job_submit(job_new(device, NULL, retire_run, retire_committed, retire_done));
}

/* ---- a database of an earlier day ---- */

struct numbers {
	struct id device;
	int64_t acknowledged, issued;
};

static struct {
	struct store_job base;
	struct numbers of[AGENTS_MAX];
	uint64_t newest[NODES_MAX];
	unsigned n;
	bool there;
} backup;

static int backup_run(struct store_tx *tx, struct store_job *job)
{
	struct store_query *query = store_query(tx, "SELECT device, acknowledged, issued FROM continuities");
	(void)job;
	for (backup.n = 0; store_step(query) > 0 && backup.n < AGENTS_MAX; backup.n++) {
		struct numbers *numbers = &backup.of[backup.n];
		store_id(query, 0, &numbers->device);
		numbers->acknowledged = store_integer(query, 1);
		numbers->issued = store_integer(query, 2);
	}
	return store_error(query);
}

void registry_back_up(struct world *world)
{
	backup.base = (struct store_job){ .run = backup_run };
	memcpy(backup.newest, world->newest, sizeof backup.newest);
	backup.there = true;
	if (store_run(store, &backup.base) < 0)
		no_database(backup.base.detail);
}

static int restore_run(struct store_tx *tx, struct store_job *job)
{
	int err = 0;
	(void)job;
	for (unsigned i = 0; err == 0 && i < backup.n; i++) {
		struct store_query *query =
		        store_query(tx, "UPDATE continuities SET acknowledged = $1, issued = $2 WHERE device = $3");
		store_bind_integer(query, 1, backup.of[i].acknowledged);
		store_bind_integer(query, 2, backup.of[i].issued);
		store_bind_id(query, 3, &backup.of[i].device);
		err = store_exec(query);
	}
	return err;
}

void registry_restore(struct world *world)
{
	if (!backup.there)
		return;
	backup.base = (struct store_job){ .run = restore_run };
	if (store_run(store, &backup.base) < 0)
		no_database(backup.base.detail);
	memcpy(world->newest, backup.newest, sizeof world->newest);
	memset(world->issued, 0, sizeof world->issued);
}

/* ---- a new seed ---- */

static struct {
	struct store_job base;
	const struct world *world;
} beginning;

static int begin_run(struct store_tx *tx, struct store_job *job)
{
	struct join_key key = { .id = beginning.world->join_key,
		                .created = START_MS / 1000,
		                .expires = START_MS / 1000 * 2,
		                .uses_left = beginning.world->uses };
	int err = store_exec(store_query(tx, "DELETE FROM continuities"));
	(void)job;
	if (err == 0)
		err = store_exec(store_query(tx, "DELETE FROM devices"));
	if (err == 0)
		err = store_exec(store_query(tx, "DELETE FROM tokens"));
	if (err == 0)
		err = store_exec(store_query(tx, "DELETE FROM join_keys"));
	return err < 0 ? err : ca_join_key_add(tx, &key);
}

void registry_begin(struct world *world)
{
	chance_bytes(world, &world->join_key, sizeof world->join_key);
	beginning.base = (struct store_job){ .run = begin_run };
	beginning.world = world;
	backup.there = false;
	if (store_run(store, &beginning.base) < 0)
		no_database(beginning.base.detail);
}
