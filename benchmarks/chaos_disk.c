// Copyright 2026 The flan_jax Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A disk that is full, or read-only, for a while: for one folder, for the processes that load this
// (LD_PRELOAD), with no right to mount anything. chaos.py compiles and steers it.
//
//   CHAOS_DISK_FOLDER   the folder, an absolute path without links
//   CHAOS_DISK_STATE    a file of one byte: '0' a good disk, '1' full, '2' read-only
//
// Full: a file may be made, but nothing written to it (ENOSPC). Read-only: nothing may be written,
// made, renamed or removed, also through descriptors opened before (EROFS).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile const char *state = "0";
static const char *folder = "";
static size_t folder_length = 0;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("CHAOS_DISK_STATE"), *where = getenv("CHAOS_DISK_FOLDER");
  if (file == NULL || where == NULL) return;
  int descriptor = REAL(open)(file, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  void *mapped = mmap(NULL, 1, PROT_READ, MAP_SHARED, descriptor, 0);
  close(descriptor);
  if (mapped == MAP_FAILED) return;
  folder = where;
  folder_length = strlen(where);
  state = mapped;
}

static int is_inside(const char *path) {
  return strncmp(path, folder, folder_length) == 0 &&
         (path[folder_length] == '/' || path[folder_length] == '\0');
}

static int is_open_inside(int descriptor) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return is_inside(path);
}

// Whether a path, relative to a folder's descriptor, may not be changed now.
static int is_kept(int descriptor, const char *path) {
  if (*state != '2' || path == NULL) return 0;
  int inside = path[0] == '/' ? is_inside(path)
               : descriptor != AT_FDCWD && is_open_inside(descriptor);
  if (inside) errno = EROFS;
  return inside;
}

// Whether nothing may be written to a descriptor now.
static int is_blocked(int descriptor) {
  char now = *state;
  if (now == '0' || !is_open_inside(descriptor)) return 0;
  errno = now == '1' ? ENOSPC : EROFS;
  return 1;
}

static int writes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }

#define OPEN(name)                                                   \
  int name(const char *path, int flags, ...) {                       \
    va_list rest;                                                    \
    va_start(rest, flags);                                           \
    mode_t mode = va_arg(rest, mode_t);                              \
    va_end(rest);                                                    \
    if (writes(flags) && is_kept(AT_FDCWD, path)) return -1;         \
    return REAL(name)(path, flags, mode);                            \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                 \
  int name(int at, const char *path, int flags, ...) {               \
    va_list rest;                                                    \
    va_start(rest, flags);                                           \
    mode_t mode = va_arg(rest, mode_t);                              \
    va_end(rest);                                                    \
    if (writes(flags) && is_kept(at, path)) return -1;               \
    return REAL(name)(at, path, flags, mode);                        \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                              \
  FILE *name(const char *path, const char *mode) {                               \
    if (strpbrk(mode, "wa+") != NULL && is_kept(AT_FDCWD, path)) return NULL;    \
    return REAL(name)(path, mode);                                               \
  }
FOPEN(fopen)
FOPEN(fopen64)

#define WRITE(type, name, parameters, arguments)  \
  type name parameters {                          \
    if (is_blocked(descriptor)) return -1;        \
    return REAL(name) arguments;                  \
  }
WRITE(ssize_t, write, (int descriptor, const void *from, size_t size), (descriptor, from, size))
WRITE(ssize_t, writev, (int descriptor, const struct iovec *from, int n), (descriptor, from, n))
WRITE(ssize_t, pwrite, (int descriptor, const void *from, size_t size, off_t at),
      (descriptor, from, size, at))
WRITE(ssize_t, pwrite64, (int descriptor, const void *from, size_t size, off64_t at),
      (descriptor, from, size, at))
WRITE(int, ftruncate, (int descriptor, off_t size), (descriptor, size))
WRITE(int, ftruncate64, (int descriptor, off64_t size), (descriptor, size))

#define CHANGE(name, parameters, arguments)       \
  int name parameters {                           \
    if (is_kept(at, path)) return -1;             \
    return REAL(name) arguments;                  \
  }
#define CHANGE_HERE(name, parameters, arguments)  \
  int name parameters {                           \
    if (is_kept(AT_FDCWD, path)) return -1;       \
    return REAL(name) arguments;                  \
  }
CHANGE_HERE(mkdir, (const char *path, mode_t mode), (path, mode))
CHANGE_HERE(rename, (const char *path, const char *to), (path, to))
CHANGE_HERE(unlink, (const char *path), (path))
CHANGE_HERE(rmdir, (const char *path), (path))
CHANGE_HERE(truncate, (const char *path, off_t size), (path, size))
CHANGE(mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
CHANGE(unlinkat, (int at, const char *path, int flags), (at, path, flags))
CHANGE(renameat, (int at, const char *path, int to_at, const char *to), (at, path, to_at, to))
