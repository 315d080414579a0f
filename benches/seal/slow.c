// A slow disk under a program that does not know: each sync takes WATCHFIRE_SYNC_US more, at random, half of it before
// and half of it after. Loaded in front of the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait(void) {
  static int most;
  const char *given = most ? 0 : getenv("WATCHFIRE_SYNC_US");
  if (!most) most = given ? atoi(given) : 1;
  usleep(rand() % most);
}

static int slowly(const char *name, int file) {
  int (*call)(int) = dlsym(RTLD_NEXT, name);
  wait();
  int done = call(file);
  wait();
  return done;
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
