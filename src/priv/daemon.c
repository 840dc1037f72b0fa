#include "priv/daemon.h"

#include <signal.h>
#include <sys/stat.h>

#include "base/err.h"
#include "conf/conf.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "os/memory.h"

int daemon_fail(int code, int err, const char *what, const char *why)
{
	const char *remedy = err_try(err);
	fprintf(stderr, "error: %s\nwhy:   %s (%s)\ntry:   %s\n", what, why && *why ? why : err_text(err), err_name(err),
	        remedy ? remedy : "see the log above");
	return code;
}

static int configuration_read(const struct daemon *daemon, struct conf **ret, char error[CONF_ERROR_SIZE])
{
	int err = conf_read(daemon->file, daemon->table, ret, error);
	const char *level = err == 0 ? conf_string(*ret, daemon->table->own_section, "LogLevel") : NULL;
	if (!level || log_level_known(level))
		return err;
	snprintf(error, CONF_ERROR_SIZE, "%.300s: LogLevel is error, warning, info or debug", daemon->file);
	*ret = conf_free(*ret);
	return -E_CONFIG;
}

/* Roles inherit the level with the environment. */
static void log_level_apply(const struct daemon *daemon)
{
	const char *level = conf_string(daemon->conf, daemon->table->own_section, "LogLevel");
	if (!level)
		return;
	setenv("MURMESH_LOG", level, 1);
	log_init(daemon->program);
}

/* Others could put their own files in the place of ours. */
static bool directory_is_open(const char *path)
{
	struct stat status;
	return stat(path, &status) < 0 || status.st_mode & S_IWOTH;
}

int daemon_prepare(struct daemon *daemon, const char *program, const char *directory, const struct conf_table *table)
{
	char name[64], lock[PATH_MAX], error[CONF_ERROR_SIZE] = "";
	daemon->table = table;
	daemon->program = program;
	int err = file_make_directory(directory, 0711);
	if (err < 0 || !realpath(directory, daemon->directory))
		return daemon_fail(DAEMON_CANNOT_CREATE, err < 0 ? err : -E_FILE, "the directory cannot be used", directory);
	if (directory_is_open(daemon->directory))
		return daemon_fail(DAEMON_CONFIG, -E_FILE, "the directory cannot be used", "everybody may write in it");
	snprintf(name, sizeof name, "%s.lock", program);
	err = file_path(lock, sizeof lock, daemon->directory, name);
	if (err == 0)
		err = file_lock(lock);
	if (err < 0)
		return daemon_fail(DAEMON_AGAIN, err, "this directory is in use", NULL);
	snprintf(name, sizeof name, "%s.ini", program);
	err = file_path(daemon->file, sizeof daemon->file, daemon->directory, name);
	if (err == 0)
		err = configuration_read(daemon, &daemon->conf, error);
	if (err < 0)
		return daemon_fail(DAEMON_CONFIG, err, "the configuration cannot be used", error);
	log_level_apply(daemon);
	return 0;
}

/* A wrong file changes nothing. */
static void on_reload(void *ctx)
{
	struct daemon *daemon = ctx;
	char error[CONF_ERROR_SIZE] = "";
	struct conf *conf;
	int err = configuration_read(daemon, &conf, error);
	if (err < 0) {
		log_error("the configuration was not read again: %s", error[0] ? error : err_text(err));
		return;
	}
	conf_free(daemon->conf);
	daemon->conf = conf;
	log_level_apply(daemon);
	log_info("the configuration was read again: its log level holds here and for roles that start from now, all else from the "
	         "next start");
}

void daemon_stop(struct daemon *daemon, int code)
{
	if (daemon->stopping)
		return;
	daemon->stopping = true;
	daemon->code = code;
	priv_monitor_stop(daemon->monitor);
}

void daemon_status(int fd, const char *state, const char *text)
{
	char line[600];
	if (fd < 0)
		return;
	int len = snprintf(line, sizeof line, "%s %s\n", state, text);
	fd_write_all(fd, line, (size_t)len);
}

static void on_signal(void *ctx)
{
	struct daemon *daemon = ctx;
	daemon_stop(daemon, 0);
	daemon->code = 0; /* also when it was about to begin again */
}

struct running {
	struct daemon *daemon;
	const struct priv_monitor_events *events;
	void *ctx;
};

static void on_ready(void *ctx)
{
	struct running *running = ctx;
	memory_release_start();
	if (running->events->ready)
		running->events->ready(running->ctx);
}

static void on_report(void *ctx, const char *role, struct str text)
{
	struct running *running = ctx;
	if (running->events->report)
		running->events->report(running->ctx, role, text);
}

static void on_stopped(void *ctx)
{
	struct running *running = ctx;
	io_loop_stop(running->daemon->loop);
}

int daemon_run(struct daemon *daemon, const struct priv_program *program, struct str settings,
               const struct priv_descriptor *descriptors, size_t n_descriptors, const struct priv_monitor_events *events, void *ctx)
{
	static const struct priv_monitor_events own = { on_ready, on_report, on_stopped };
	struct running running = { daemon, events, ctx };
	daemon->loop = io_loop_new();
	if (!daemon->loop)
		return daemon_fail(DAEMON_AGAIN, -E_NO_MEMORY, "the roles cannot be started", NULL);
	struct io_signal *signals[] = { io_signal_new(daemon->loop, SIGTERM, on_signal, daemon),
		                        io_signal_new(daemon->loop, SIGINT, on_signal, daemon),
		                        io_signal_new(daemon->loop, SIGHUP, on_reload, daemon) };
	daemon->monitor = priv_monitor_new(daemon->loop, program, settings, descriptors, n_descriptors, &own, &running);
	if (!signals[0] || !signals[1] || !signals[2] || !daemon->monitor || priv_monitor_start(daemon->monitor) < 0)
		return daemon_fail(DAEMON_AGAIN, -E_NO_MEMORY, "the roles cannot be started", NULL);
	io_loop_run(daemon->loop);
	daemon->monitor = priv_monitor_free(daemon->monitor);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		io_signal_free(signals[i]);
	daemon->timer = io_timer_free(daemon->timer);
	daemon->loop = io_loop_free(daemon->loop);
	daemon->conf = conf_free(daemon->conf);
	return daemon->code;
}
