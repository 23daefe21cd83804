/*
 * Ends the process before its n-th change to a directory, as a crash would: no handler runs, nothing is flushed.
 *
 * Preloaded, it stands before the libc calls that change a disk. Once armed with a root directory it counts those that
 * touch it or a path below it, one at a time, and logs those that succeeded: the call's name, the path and, of a
 * rename, the new path, with tabs between them.
 */

#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXIT_CUT 77
#define LONG_PATH (2 * PATH_MAX)

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static long cut_before, calls;
static int log_to = -1;
static volatile int armed;

/* Begins to count at and below `directory`; `before` 0 never cuts, `log` -1 never logs. */
void cut_arm(const char *directory, long before, int log) {
    snprintf(root, sizeof root, "%s", directory);
    calls = 0;
    cut_before = before;
    log_to = log;
    armed = 1;
}

/* Stops counting; the number of calls. */
long cut_disarm(void) {
    armed = 0;
    return calls;
}

/* Whether it is the root or below it. */
static int is_watched(const char *path) {
    size_t length = strlen(root);
    return path && strncmp(path, root, length) == 0 && (path[length] == '/' || !path[length]);
}

static const char *path_of(int descriptor, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

static const char *path_at(int directory, const char *name, char *buffer) {
    char base[PATH_MAX];
    if (name[0] == '/') {
        snprintf(buffer, LONG_PATH, "%s", name);
        return buffer;
    }
    if (directory != AT_FDCWD) {
        path_of(directory, base);
    } else if (!getcwd(base, sizeof base)) {
        base[0] = 0;
    }
    snprintf(buffer, LONG_PATH, "%s/%s", base, name);
    return buffer;
}

static int begin(const char *path, const char *target) {
    if (!is_watched(path) && !is_watched(target)) {
        return 0;
    }
    pthread_mutex_lock(&one_at_a_time);
    if (++calls == cut_before) {
        _exit(EXIT_CUT);
    }
    return 1;
}

static void end(const char *call, const char *path, const char *target, int succeeded) {
    if (log_to >= 0 && succeeded) {
        char line[3 * LONG_PATH];
        int length = snprintf(line, sizeof line, "%s\t%s%s%s\n", call, path, target ? "\t" : "", target ? target : "");
        syscall(SYS_write, log_to, line, (size_t)length);
    }
    pthread_mutex_unlock(&one_at_a_time);
}

#define REAL(type, name, parameters)                                                                                   \
    static type(*real) parameters;                                                                                     \
    if (!real) {                                                                                                       \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                                     \
    }

/* In `path` and `target` the buffers `first` and `second` can be used. */
#define INTERPOSE(type, name, parameters, arguments, path, target)                                                     \
    type name parameters {                                                                                             \
        REAL(type, name, parameters)                                                                                   \
        if (!armed) {                                                                                                  \
            return real arguments;                                                                                     \
        }                                                                                                              \
        char first[LONG_PATH], second[LONG_PATH];                                                                      \
        (void)second;                                                                                                  \
        const char *from = path, *to = target;                                                                         \
        int counted = begin(from, to);                                                                                 \
        type result = real arguments;                                                                                  \
        if (counted) {                                                                                                 \
            end(#name, from, to, result >= 0);                                                                         \
        }                                                                                                              \
        return result;                                                                                                 \
    }

#define ON_DESCRIPTOR(type, name, parameters, arguments)                                                               \
    INTERPOSE(type, name, parameters, arguments, path_of(fd, first), NULL)

/* Opening changes the disk where it may create or empty a file. */
#define INTERPOSE_OPEN(name, parameters, arguments, directory)                                                         \
    int name parameters {                                                                                              \
        REAL(int, name, parameters)                                                                                    \
        mode_t mode = 0;                                                                                               \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                                                   \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        if (!armed || !(flags & (O_CREAT | O_TRUNC))) {                                                                \
            return real arguments;                                                                                     \
        }                                                                                                              \
        char first[LONG_PATH];                                                                                         \
        const char *from = path_at(directory, path, first);                                                            \
        int counted = begin(from, NULL);                                                                               \
        int result = real arguments;                                                                                   \
        if (counted) {                                                                                                 \
            end("open", from, NULL, result >= 0);                                                                      \
        }                                                                                                              \
        return result;                                                                                                 \
    }

/* A sync is only noted: the system outlives the process, and with it what was written. */
#define INTERPOSE_SYNC(name)                                                                                           \
    int name(int fd) {                                                                                                 \
        char path[LONG_PATH];                                                                                          \
        if (armed && begin(path_of(fd, path), NULL)) {                                                                 \
            end(#name, path, NULL, 1);                                                                                 \
        }                                                                                                              \
        return 0;                                                                                                      \
    }

INTERPOSE_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
INTERPOSE_OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)

ON_DESCRIPTOR(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_DESCRIPTOR(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_DESCRIPTOR(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_DESCRIPTOR(int, ftruncate, (int fd, off_t size), (fd, size))
ON_DESCRIPTOR(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
ON_DESCRIPTOR(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
INTERPOSE_SYNC(fsync)
INTERPOSE_SYNC(fdatasync)

#ifdef __GLIBC__
INTERPOSE_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
INTERPOSE_OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
ON_DESCRIPTOR(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_DESCRIPTOR(int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_DESCRIPTOR(int, posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size))
ON_DESCRIPTOR(int, fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))
#endif

INTERPOSE(int, rename, (const char *old, const char *new), (old, new), path_at(AT_FDCWD, old, first),
          path_at(AT_FDCWD, new, second))
INTERPOSE(int, renameat, (int at, const char *old, int to_at, const char *new), (at, old, to_at, new),
          path_at(at, old, first), path_at(to_at, new, second))
INTERPOSE(int, renameat2, (int at, const char *old, int to_at, const char *new, unsigned flags),
          (at, old, to_at, new, flags), path_at(at, old, first), path_at(to_at, new, second))
INTERPOSE(int, mkdir, (const char *path, mode_t mode), (path, mode), path_at(AT_FDCWD, path, first), NULL)
INTERPOSE(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), path_at(at, path, first), NULL)
INTERPOSE(int, unlink, (const char *path), (path), path_at(AT_FDCWD, path, first), NULL)
INTERPOSE(int, unlinkat, (int at, const char *path, int flags), (at, path, flags), path_at(at, path, first), NULL)
INTERPOSE(int, rmdir, (const char *path), (path), path_at(AT_FDCWD, path, first), NULL)
