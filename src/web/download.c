#include "web/download.h"

#include <sys/stat.h>

#include "base/encode.h"
#include "base/err.h"
#include "os/fd.h"
#include "os/log.h"
#include "web/api.h"

#define PREFIX "/dl/"
#define PIECE  ((size_t)64 << 10) /* that is hashed before others have their turn */

static void fail(struct download *download, int err)
{
	log_warning("the command line is not offered for download: %s", err_text(err));
	download->digest = digest_free(download->digest);
	download->fd = -1;
}

static void on_piece(void *ctx)
{
	struct download *download = ctx;
	uint8_t *piece = io_loop_scratch(download->loop), hash[HASH_SIZE];
	uint64_t left = download->size - download->at;
	ssize_t n = fd_read_at(download->fd, download->at, piece, left < PIECE ? (size_t)left : PIECE);
	if (n <= 0)
		return fail(download, n < 0 ? (int)n : -E_SHORT);
	digest_add(download->digest, piece, (size_t)n);
	download->at += (uint64_t)n;
	if (download->at < download->size)
		return io_task_schedule(download->loop, &download->task);
	digest_read(download->digest, hash);
	download->digest = digest_free(download->digest);
	hex_encode(hash, sizeof hash, download->hash);
}

void download_init(struct download *download, struct io_loop *loop)
{
	*download = (struct download){ .fd = -1, .loop = loop };
	io_task_init(&download->task, on_piece, download);
}

void download_done(struct download *download)
{
	io_task_cancel(&download->task);
	download->digest = digest_free(download->digest);
}

void download_set(struct download *download, int fd)
{
	struct stat status = { 0 };
	bool usable = fstat(fd, &status) == 0 && status.st_size > 0;
	download->fd = fd;
	download->size = (uint64_t)status.st_size;
	download->digest = usable ? digest_new() : NULL;
	if (!download->digest)
		return fail(download, usable ? -E_NO_MEMORY : -E_SHORT);
	io_task_schedule(download->loop, &download->task);
}

bool download_is(struct str path)
{
	return str_starts(path, STR(PREFIX));
}

static void describe(struct http_exchange *exchange, const struct download *download, bool json)
{
	char text[256];
	if (json)
		snprintf(text, sizeof text, "{\"version\":\"%s\",\"size\":%llu,\"sha256\":\"%s\"}", MURMESH_VERSION,
		         (unsigned long long)download->size, download->hash);
	else
		snprintf(text, sizeof text, "%s  murmesh\n", download->hash);
	const struct http_answer answer = { .status = 200,
		                            .type = json ? "application/json" : "text/plain",
		                            .body = str_from(text) };
	http_answer(exchange, &answer);
}

void download_request(struct http_exchange *exchange, struct str path)
{
	const struct download *download = &exchange->web->download;
	bool hash = str_is(path, PREFIX "murmesh.sha256"), json = str_is(path, PREFIX "murmesh.json");
	exchange->path = hash ? PREFIX "murmesh.sha256" : json ? PREFIX "murmesh.json" : PREFIX "murmesh";
	if (!hash && !json && !str_is(path, PREFIX "murmesh"))
		return api_refuse(exchange, -E_NOT_FOUND, NULL);
	if (download->fd < 0)
		return api_refuse(exchange, -E_NOT_FOUND, "this server was started without the command line beside it");
	if (!download->hash[0])
		return api_refuse(exchange, -E_BUSY, NULL);
	if (hash || json)
		return describe(exchange, download, json);
	const struct http_file file = { download->fd, download->size };
	http_answer(exchange, &(struct http_answer){ .status = 200, .type = "application/octet-stream", .file = &file });
}
