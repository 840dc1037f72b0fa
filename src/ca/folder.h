/* ca/folder.h: the files of a certification manager's directory, one by one (authority.h says which).  Each is replaced as a whole (os/file.h); what root
 * writes belongs to the directory's owner, as whom the ca role runs.  Readers: -ENOENT, -E_CHECKSUM (damaged), and what os/file.h says. */
#ifndef CA_FOLDER_H
#define CA_FOLDER_H
#include "crypto/certificate.h"
#include "enrol.pb.h"

int folder_has(const char *directory, const char *name); /* 1, 0, or why that cannot be said */
int folder_write(const char *directory, const char *name, const void *bytes, size_t len, unsigned mode);

int folder_key_read(const char *directory, const char *name, struct key **ret);
int folder_key_make(const char *directory, const char *name, struct key **ret);
int folder_certificate_read(const char *directory, const char *name, struct certificate **ret);
int folder_certificates_read(const char *directory, const char *name, struct certificate **ret, size_t max); /* how many */
int folder_certificate_write(const char *directory, const char *name, const struct certificate *certificate);

int folder_id_read(const char *directory, const char *name, struct id *ret);
int folder_id_write(const char *directory, const char *name, const struct id *id);

/* "policy": 16 bits of length (big-endian), the document, its signature. */
int folder_policy_read(const char *directory, murmesh_SignedDocument *ret);
int folder_policy_write(const char *directory, const char *name, const murmesh_SignedDocument *policy);

/* "former.crt": intermediates whose leaves may still be shown, the oldest first; each was followed by the next, the last by "intermediate.crt". */
#define FORMERS_MAX 8
#define FORMER_S    ((int64_t)97 * 86400) /* a leaf of its last day lives 7 days, and can be renewed for 90 more */
int folder_formers_read(const char *directory, struct certificate *ret[FORMERS_MAX]); /* how many are in force now; 0 = none */
/* Of these, each once, the newest FORMERS_MAX. */
int folder_formers_adopt(const char *directory, const char *name, struct certificate *const *certificates, size_t n);
/* Those, and the one in use, which is about to be followed by another.  -E_LIMIT. */
int folder_formers_write(const char *directory, const char *name);
#endif
