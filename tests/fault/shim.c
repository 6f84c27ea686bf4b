/* Loaded into a process (LD_PRELOAD), it makes one file operation below a folder go wrong: before it happens.
 *
 *   FAULT_ROOT  the folder
 *   FAULT_AT    the number of the operation, from 1 on; 0: none, operations are only counted
 *   FAULT_LOG   a file that is told how many operations there were, and what happened at which one
 *   FAULT_MODE  kill    the process is killed; what it has written stays
 *               cut     the power fails: bytes that were not synced are gone, names stay
 *               zero    the same, but the bytes are there and zero
 *               torn    the same, but half of the bytes are there
 *               once    the operation fails with EIO
 *               full    from there on there is no space: whatever needs some fails with ENOSPC
 *               dead    from there on every operation fails with EIO
 *               unread  opening or reading a file fails with EIO, once: reads are counted, and nothing else is
 *               nolock  every lock fails with ENOLCK, as on some network file systems
 *
 * Operations are: opening to create or empty, writing, cutting, syncing, renaming, linking, removing, making folders.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { NONE, KILL, CUT, ZERO, TORN, ONCE, FULL, DEAD, UNREAD, NOLOCK };
enum need { NOTHING, SPACE, READ };

/* A file with bytes that were not synced. It is held open, so that it is found whatever its name has become. */
struct dirty {
    dev_t device;
    ino_t inode;
    off_t durable;
    int fd;
};

static struct dirty dirty[1024];
static int dirty_files;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum mode mode;
static const char *root;
static size_t root_length;
static long at, operations;
static int log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void read_settings(void) {
    static const char *const names[] = {"none", "kill", "cut", "zero", "torn", "once", "full", "dead", "unread", "nolock"};
    const char *text = getenv("FAULT_MODE");
    for (int i = 0; text && i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(text, names[i])) mode = i;
    root = getenv("FAULT_ROOT");
    root_length = root ? strlen(root) : 0;
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    const char *path = getenv("FAULT_LOG");
    if (path) log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static int is_below(const char *path) {
    pthread_once(&once, read_settings);
    return root_length && !strncmp(path, root, root_length) && path[root_length] == '/';
}

/* The whole path of a name, or of an open file. */
static int whole(int folder, const char *name, char *path) {
    char link[64], base[PATH_MAX] = "";
    if (name && *name == '/') return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    return snprintf(path, PATH_MAX, name ? "%s/%s" : "%s", base, name) < PATH_MAX;
}

static int has(int folder, const char *name, char *path) { return whole(folder, name, path) && is_below(path); }

static void tell(const char *format, ...) {
    char line[PATH_MAX + 128];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (log_fd >= 0 && REAL(pwrite)(log_fd, line, length, 0) == length) (void)!REAL(ftruncate)(log_fd, length);
}

static int dirty_of(int fd) {
    struct stat stat;
    if (fstat(fd, &stat)) return -1;
    for (int i = 0; i < dirty_files; i++)
        if (dirty[i].inode == stat.st_ino && dirty[i].device == stat.st_dev) return i;
    return -1;
}

/* What is in the file now is durable, what comes is not. */
static void soil(int fd, off_t durable) {
    struct stat stat;
    char link[64];
    if (mode < CUT || mode > TORN || fstat(fd, &stat) || !S_ISREG(stat.st_mode)) return;
    int i = dirty_of(fd);
    if (i >= 0) {
        if (durable < dirty[i].durable) dirty[i].durable = durable;
        return;
    }
    if (dirty_files == (int)(sizeof dirty / sizeof *dirty)) abort();
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int own = REAL(open)(link, O_RDWR | O_CLOEXEC);
    if (own >= 0) dirty[dirty_files++] = (struct dirty){stat.st_dev, stat.st_ino, durable, own};
}

static void clean(int fd) {
    int i = dirty_of(fd);
    if (i < 0) return;
    close(dirty[i].fd);
    dirty[i] = dirty[--dirty_files];
}

static off_t size_of(int fd) {
    struct stat stat;
    return fstat(fd, &stat) ? 0 : stat.st_size;
}

static void lose_unsynced(void) {
    static const char nothing[1 << 16];
    for (int i = 0; i < dirty_files; i++) {
        off_t size = size_of(dirty[i].fd), durable = dirty[i].durable;
        if (size <= durable) continue;
        if (mode == TORN) durable += (size - durable) / 2;
        for (off_t from = durable; mode == ZERO && from < size;) {
            off_t length = size - from < (off_t)sizeof nothing ? size - from : (off_t)sizeof nothing;
            if (REAL(pwrite)(dirty[i].fd, nothing, length, from) < 0) break;
            from += length;
        }
        if (mode != ZERO) (void)!REAL(ftruncate)(dirty[i].fd, durable);
    }
}

/* Counts an operation; whether it fails. Called with the mutex held. */
static int strikes(const char *what, const char *path, enum need need) {
    if ((need == READ) != (mode == UNREAD) || mode == NOLOCK) return 0;
    operations++;
    int fails = at > 0 && (mode == FULL || mode == DEAD ? operations >= at : operations == at);
    if (mode == FULL && need != SPACE) fails = 0;
    if (at == 0) tell("%ld operations\n", operations);
    if (operations == at) tell("operation %ld: %s %s\n", operations, what, path);
    if (!fails) return 0;
    if (mode <= TORN && mode != NONE) {
        lose_unsynced();
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = mode == FULL ? ENOSPC : EIO;
    return 1;
}

/* Does something with a file, unless it is to fail. */
#define STEP(what, need, path, before, call, after)   \
    ({                                                \
        pthread_mutex_lock(&mutex);                   \
        __typeof__(call) outcome = -1;                \
        if (!strikes(what, path, need)) {             \
            before;                                   \
            outcome = call;                           \
            int kept = errno;                         \
            if (outcome >= 0) { after; }              \
            errno = kept;                             \
        }                                             \
        pthread_mutex_unlock(&mutex);                 \
        outcome;                                      \
    })

static int opened(int (*real)(int, const char *, int, ...), int folder, const char *name, int flags, mode_t bits) {
    char path[PATH_MAX];
    if (!has(folder, name, path)) return real(folder, name, flags, bits);
    if (!(flags & (O_CREAT | O_TRUNC))) {
        if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_DIRECTORY)) return real(folder, name, flags, bits);
        return STEP("open", READ, path, , real(folder, name, flags, bits), );
    }
    return STEP("create", SPACE, path, , real(folder, name, flags, bits), if (size_of(outcome) == 0 || (flags & O_TRUNC)) soil(outcome, 0));
}

#define BITS                                     \
    mode_t bits = 0;                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {       \
        va_list values;                          \
        va_start(values, flags);                 \
        bits = va_arg(values, mode_t);           \
        va_end(values);                          \
    }

int open(const char *name, int flags, ...) { BITS return opened(REAL(openat), AT_FDCWD, name, flags, bits); }
int open64(const char *name, int flags, ...) { BITS return opened(REAL(openat64), AT_FDCWD, name, flags, bits); }
int openat(int folder, const char *name, int flags, ...) { BITS return opened(REAL(openat), folder, name, flags, bits); }
int openat64(int folder, const char *name, int flags, ...) { BITS return opened(REAL(openat64), folder, name, flags, bits); }

#define WRITES(type, name, parameters, arguments)                                                \
    type name parameters {                                                                       \
        char path[PATH_MAX];                                                                     \
        if (fd <= 2 || !has(fd, NULL, path)) return REAL(name) arguments;                        \
        return STEP("write", SPACE, path, soil(fd, size_of(fd)), REAL(name) arguments, );        \
    }

WRITES(ssize_t, write, (int fd, const void *bytes, size_t length), (fd, bytes, length))
WRITES(ssize_t, writev, (int fd, const struct iovec *pieces, int count), (fd, pieces, count))
WRITES(ssize_t, pwrite, (int fd, const void *bytes, size_t length, off_t from), (fd, bytes, length, from))
WRITES(ssize_t, pwrite64, (int fd, const void *bytes, size_t length, off64_t from), (fd, bytes, length, from))

#define READS(type, name, parameters, arguments)                                                 \
    type name parameters {                                                                       \
        char path[PATH_MAX];                                                                     \
        if (fd <= 2 || !has(fd, NULL, path)) return REAL(name) arguments;                        \
        return STEP("read", READ, path, , REAL(name) arguments, );                               \
    }

READS(ssize_t, read, (int fd, void *bytes, size_t length), (fd, bytes, length))
READS(ssize_t, pread, (int fd, void *bytes, size_t length, off_t from), (fd, bytes, length, from))
READS(ssize_t, pread64, (int fd, void *bytes, size_t length, off64_t from), (fd, bytes, length, from))

#define CUTS(name, type)                                                                         \
    int name(int fd, type length) {                                                              \
        char path[PATH_MAX];                                                                     \
        if (!has(fd, NULL, path)) return REAL(name)(fd, length);                                 \
        off_t durable = size_of(fd) < length ? size_of(fd) : length;                             \
        return STEP("cut", NOTHING, path, soil(fd, durable), REAL(name)(fd, length), );          \
    }

CUTS(ftruncate, off_t)
CUTS(ftruncate64, off64_t)

#define SYNCS(name)                                                                              \
    int name(int fd) {                                                                           \
        char path[PATH_MAX];                                                                     \
        if (!has(fd, NULL, path)) return REAL(name)(fd);                                         \
        return STEP("sync", NOTHING, path, , REAL(name)(fd), clean(fd));                         \
    }

SYNCS(fsync)
SYNCS(fdatasync)

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    char path[PATH_MAX];
    if (!has(to_folder, to, path)) return REAL(renameat)(from_folder, from, to_folder, to);
    return STEP("rename to", NOTHING, path, , REAL(renameat)(from_folder, from, to_folder, to), );
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    char path[PATH_MAX];
    if (!has(to_folder, to, path)) return REAL(linkat)(from_folder, from, to_folder, to, flags);
    return STEP("link to", SPACE, path, , REAL(linkat)(from_folder, from, to_folder, to, flags), );
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!has(folder, name, path)) return REAL(unlinkat)(folder, name, flags);
    return STEP("remove", NOTHING, path, , REAL(unlinkat)(folder, name, flags), );
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdir(const char *name, mode_t bits) {
    char path[PATH_MAX];
    if (!has(AT_FDCWD, name, path)) return REAL(mkdir)(name, bits);
    return STEP("make folder", SPACE, path, , REAL(mkdir)(name, bits), );
}

int flock(int fd, int operation) {
    char path[PATH_MAX];
    if (has(fd, NULL, path) && mode == NOLOCK) {
        errno = ENOLCK;
        return -1;
    }
    return REAL(flock)(fd, operation);
}
