// Another wall clock, and another time service's word, for a program that does not know. $WATCHFIRE_CLOCK names a file with
// how many seconds the clock is off; beside it lies the marker of the service, as FILE.word. Loaded in front of the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*call)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int done = call(clock, now);
  if (clock == CLOCK_REALTIME && done == 0) {
    char text[32] = "0";
    int file = open(getenv("WATCHFIRE_CLOCK"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
      ssize_t length = read(file, text, sizeof text - 1);
      text[length > 0 ? length : 0] = 0;
      close(file);
    }
    now->tv_sec += atoll(text);
  }
  return done;
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
  int (*call)(int, const char *, int, unsigned, struct statx *) = dlsym(RTLD_NEXT, "statx");
  char word[4096];
  if (strcmp(path, "/run/watchfire/clock-synchronised") == 0) {
    snprintf(word, sizeof word, "%s.word", getenv("WATCHFIRE_CLOCK"));
    path = word;
  }
  return call(folder, path, flags, mask, found);
}
