/* Checks of what a server or agent keeps below --dir. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/doctor.h"
#include "cli/session.h"
#include "os/clock.h"
#include "os/file.h"

enum doctor_result doctor_server(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	murmesh_ServerDescription description;
	int err = session_describe(directory, &description);
	if (err == -E_NO_SERVER)
		snprintf(text, DOCTOR_TEXT_SIZE, "none runs in %.400s", directory);
	else if (err < 0)
		snprintf(text, DOCTOR_TEXT_SIZE, "core.sock in %.300s: %s", directory, err_text(err));
	else
		snprintf(text, DOCTOR_TEXT_SIZE, "version %s answers, port %u, known as %s", description.version,
		         description.front_port, description.address);
	return err == 0 || err == -E_NO_SERVER ? DOCTOR_OK : DOCTOR_FAILURE;
}

/* Keys that only their owner may read; those in folders that we may not enter are somebody else's to check. */
enum doctor_result doctor_keys(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	static const char *const keys[] = { "ca/root.key",        "ca/intermediate.key",   "ca/grant.key",
		                            "net/node.key",       "exec/manager.key",      "join.pending",
		                            "agent/net/node.key", "agent/exec/manager.key" };
	char path[4096];
	struct stat status;
	unsigned seen = 0;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		if (file_path(path, sizeof path, directory, keys[i]) < 0 || stat(path, &status) < 0)
			continue;
		seen++;
		if (status.st_mode & (S_IRWXG | S_IRWXO)) {
			snprintf(text, DOCTOR_TEXT_SIZE, "%.400s: mode %03o, others may read it", path, status.st_mode & 07777);
			return DOCTOR_FAILURE;
		}
	}
	snprintf(text, DOCTOR_TEXT_SIZE, "%u examined, only their owners may read them", seen);
	return DOCTOR_OK;
}

static enum doctor_result certificate_judge(const char *path, char text[DOCTOR_TEXT_SIZE])
{
	struct certificate *chain[3] = { NULL }; /* leaf, intermediate, root */
	struct certificate_info info;
	struct buf pem;
	char until[CLOCK_TEXT_SIZE];
	buf_init(&pem, (size_t)64 << 10);
	int err = file_read(path, &pem);
	if (err == 0)
		err = certificate_read_pem(buf_str(&pem), chain, 3);
	if (err >= 0)
		err = certificate_inspect(chain[0], &info);
	for (size_t i = 0; i < 3; i++)
		certificate_free(chain[i]);
	buf_done(&pem);
	if (err < 0) {
		snprintf(text, DOCTOR_TEXT_SIZE, "%.400s: %s", path, err_text(err));
		return DOCTOR_FAILURE;
	}
	clock_format(info.not_after, until);
	int64_t now = clock_wall_s();
	bool good = now >= info.not_before && now < info.not_after;
	snprintf(text, DOCTOR_TEXT_SIZE, "%s is good until %s%s", info.common_name, until,
	         good ? "" : ", not at this clock's time");
	return good ? DOCTOR_OK : DOCTOR_FAILURE;
}

enum doctor_result doctor_certificate(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	static const char *const files[] = { "net/node.crt", "agent/net/node.crt" };
	char path[4096];
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (file_path(path, sizeof path, directory, files[i]) == 0 && access(path, R_OK) == 0)
			return certificate_judge(path, text);
	snprintf(text, DOCTOR_TEXT_SIZE, "no agent's certificate to examine in %.400s", directory);
	return DOCTOR_OK;
}
