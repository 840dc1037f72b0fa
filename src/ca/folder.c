#include "ca/folder.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"

#define FILE_MAX ((size_t)16 << 10)

int folder_has(const char *directory, const char *name)
{
	char path[4096];
	int err = file_path(path, sizeof path, directory, name);
	return err < 0 ? err : access(path, F_OK) == 0 ? 1 : errno == ENOENT ? 0 : -errno;
}

static int read_into(const char *directory, const char *name, struct buf *out)
{
	char path[4096];
	buf_init(out, FILE_MAX);
	int err = file_path(path, sizeof path, directory, name);
	return err < 0 ? err : file_read(path, out);
}

/* Where root made it for the role that reads it. */
static int hand_over(const char *directory, const char *path)
{
	struct stat status;
	if (geteuid() != 0)
		return 0;
	if (stat(directory, &status) < 0 || lchown(path, status.st_uid, status.st_gid) < 0)
		return -errno;
	return 0;
}

int folder_write(const char *directory, const char *name, const void *bytes, size_t len, unsigned mode)
{
	char path[4096];
	int err = file_path(path, sizeof path, directory, name);
	if (err == 0)
		err = file_write(path, bytes, len, mode);
	return err < 0 ? err : hand_over(directory, path);
}

static int write_from(const char *directory, const char *name, const struct buf *bytes, unsigned mode)
{
	return folder_write(directory, name, buf_head(bytes), buf_len(bytes), mode);
}

/* ---- keys and certificates ---- */

int folder_key_read(const char *directory, const char *name, struct key **ret)
{
	struct buf pem;
	int err = read_into(directory, name, &pem);
	if (err == 0)
		err = key_private_read(buf_str(&pem), ret);
	buf_wipe(&pem);
	return err;
}

int folder_key_make(const char *directory, const char *name, struct key **ret)
{
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	struct key *key = key_generate();
	int err = key ? key_private_write(key, &pem) : -E_NO_MEMORY;
	if (err == 0)
		err = write_from(directory, name, &pem, 0600);
	buf_wipe(&pem);
	if (err < 0)
		key_free(key);
	else
		*ret = key;
	return err;
}

int folder_certificates_read(const char *directory, const char *name, struct certificate **ret, size_t max)
{
	struct buf pem;
	int err = read_into(directory, name, &pem);
	int n = err == 0 ? certificate_read_pem(buf_str(&pem), ret, max) : err;
	buf_done(&pem);
	return n;
}

int folder_certificate_read(const char *directory, const char *name, struct certificate **ret)
{
	int n = folder_certificates_read(directory, name, ret, 1);
	return n < 0 ? n : n == 1 ? 0 : -E_CHECKSUM;
}

int folder_certificate_write(const char *directory, const char *name, const struct certificate *certificate)
{
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	int err = certificate_write_pem(certificate, &pem);
	if (err == 0)
		err = write_from(directory, name, &pem, 0644);
	buf_done(&pem);
	return err;
}

/* ---- ids ---- */

int folder_id_read(const char *directory, const char *name, struct id *ret)
{
	struct buf text;
	int err = read_into(directory, name, &text);
	if (err == 0 && id_parse(buf_str(&text), ret) < 0)
		err = -E_CHECKSUM;
	buf_done(&text);
	return err;
}

int folder_id_write(const char *directory, const char *name, const struct id *id)
{
	char text[ID_TEXT_SIZE];
	id_format(id, text);
	return folder_write(directory, name, text, strlen(text), 0644);
}

/* ---- the policy ---- */

int folder_policy_read(const char *directory, murmesh_SignedDocument *ret)
{
	struct buf bytes;
	uint16_t len;
	const uint8_t *document;
	int err = read_into(directory, "policy", &bytes);
	struct reader r = { buf_head(&bytes), buf_len(&bytes) };
	if (err == 0 && (reader_be16(&r, &len) < 0 || reader_bytes(&r, len, &document) < 0 || len > sizeof ret->document.bytes ||
	                 r.len > sizeof ret->signature.bytes))
		err = -E_CHECKSUM;
	if (err == 0) {
		*ret = (murmesh_SignedDocument)murmesh_SignedDocument_init_zero;
		ret->document.size = len;
		memcpy(ret->document.bytes, document, len);
		ret->signature.size = (pb_size_t)r.len;
		memcpy(ret->signature.bytes, r.ptr, r.len);
	}
	buf_done(&bytes);
	return err;
}

int folder_policy_write(const char *directory, const char *name, const murmesh_SignedDocument *policy)
{
	struct buf bytes;
	buf_init(&bytes, FILE_MAX);
	int err = buf_append_be16(&bytes, policy->document.size);
	if (err == 0)
		err = buf_append(&bytes, policy->document.bytes, policy->document.size);
	if (err == 0)
		err = buf_append(&bytes, policy->signature.bytes, policy->signature.size);
	if (err == 0)
		err = write_from(directory, name, &bytes, 0644);
	buf_done(&bytes);
	return err;
}

/* ---- former intermediates ---- */

static void drop(struct certificate **certificates, int n)
{
	for (int i = 0; i < n; i++)
		certificate_free(certificates[i]);
}

/* When a certificate that was made for use at once was made (chain.c). */
static int made_at(const struct certificate *certificate, int64_t *ret)
{
	struct certificate_info info;
	int err = certificate_inspect(certificate, &info);
	*ret = err == 0 ? info.not_before + 3600 : 0;
	return err;
}

/* Its time is over FORMER_S after the next one took its place.  How many of the oldest are over; certificates[n] is the one in use. */
static int count_over(struct certificate **certificates, int n)
{
	int over = 0, err = 0;
	int64_t made;
	while (over < n && (err = made_at(certificates[over + 1], &made)) == 0 && made + FORMER_S < clock_wall_s())
		over++;
	return err < 0 ? err : over;
}

/* Formers in force, and behind them the one in use; returns the number of the former. */
static int read_all(const char *directory, struct certificate *ret[FORMERS_MAX + 1])
{
	int n = folder_certificates_read(directory, "former.crt", ret, FORMERS_MAX);
	n = n == -ENOENT ? 0 : n;
	if (n < 0)
		return n;
	int err = folder_certificate_read(directory, "intermediate.crt", &ret[n]);
	int over = err < 0 ? err : count_over(ret, n);
	if (over < 0) {
		drop(ret, err < 0 ? n : n + 1);
		return over;
	}
	drop(ret, over);
	memmove(ret, ret + over, (size_t)(n + 1 - over) * sizeof *ret);
	return n - over;
}

int folder_formers_read(const char *directory, struct certificate *ret[FORMERS_MAX])
{
	struct certificate *all[FORMERS_MAX + 1];
	int n = read_all(directory, all);
	if (n < 0)
		return n;
	certificate_free(all[n]);
	memcpy(ret, all, (size_t)n * sizeof *ret);
	return n;
}

int folder_formers_write(const char *directory, const char *name)
{
	struct certificate *all[FORMERS_MAX + 1];
	struct buf pem;
	int n = read_all(directory, all), err = n < 0 ? n : n == FORMERS_MAX ? -E_LIMIT : 0;
	buf_init(&pem, FILE_MAX);
	for (int i = 0; err == 0 && i <= n; i++)
		err = certificate_write_pem(all[i], &pem);
	if (err == 0)
		err = write_from(directory, name, &pem, 0644);
	buf_done(&pem);
	drop(all, n < 0 ? 0 : n + 1);
	return err;
}

struct dated {
	const struct certificate *certificate;
	struct certificate_info info;
};

static int dated_compare(const void *a, const void *b)
{
	const struct dated *first = a, *second = b;
	return (first->info.not_before > second->info.not_before) - (first->info.not_before < second->info.not_before);
}

static bool dated_has(const struct dated *dated, size_t n, const uint8_t key_hash[HASH_SIZE])
{
	for (size_t i = 0; i < n; i++)
		if (hash_equal(dated[i].info.key_hash, key_hash))
			return true;
	return false;
}

int folder_formers_adopt(const char *directory, const char *name, struct certificate *const *certificates, size_t n)
{
	struct dated *dated = mem_alloc_array(n + 1, sizeof *dated);
	struct buf pem;
	size_t count = 0;
	int err = dated ? 0 : -E_NO_MEMORY;
	for (size_t i = 0; err == 0 && i < n; i++) {
		dated[count].certificate = certificates[i];
		err = certificate_inspect(certificates[i], &dated[count].info);
		count += err == 0 && !dated_has(dated, count, dated[count].info.key_hash);
	}
	buf_init(&pem, FILE_MAX);
	if (err == 0)
		qsort(dated, count, sizeof *dated, dated_compare);
	for (size_t i = count > FORMERS_MAX ? count - FORMERS_MAX : 0; err == 0 && i < count; i++)
		err = certificate_write_pem(dated[i].certificate, &pem);
	if (err == 0)
		err = write_from(directory, name, &pem, 0644);
	buf_done(&pem);
	mem_free(dated);
	return err;
}
