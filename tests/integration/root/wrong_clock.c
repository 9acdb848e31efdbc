/* A clock that can be set on a test machine alone: the seconds by which it is wrong stand in /run/clock. */
extern void *dlsym(void *, const char *);
extern int open(const char *, int, ...);
extern int creat(const char *, unsigned);
extern long read(int, void *, unsigned long);
extern long write(int, const void *, unsigned long);
extern int close(int);
#define NEXT ((void *)-1)
struct span { long seconds, parts; };

static long wrong_by(void) {
    long seconds = 0;
    int file = open("/run/clock", 0);
    if (file < 0) return 0;
    if (read(file, &seconds, sizeof seconds) != sizeof seconds) seconds = 0;
    close(file);
    return seconds;
}

static int real(int clock, struct span *now) {
    static int (*next)(int, struct span *);
    if (!next) next = dlsym(NEXT, "clock_gettime");
    return next(clock, now);
}

int clock_gettime(int clock, struct span *now) {
    int failed = real(clock, now);
    if (!failed && (clock == 0 || clock == 5)) now->seconds += wrong_by();
    return failed;
}

int gettimeofday(struct span *now, void *zone) {
    int failed = real(0, now);
    now->seconds += wrong_by();
    now->parts /= 1000;
    return failed;
}

long time(long *to) {
    struct span now;
    real(0, &now);
    now.seconds += wrong_by();
    if (to) *to = now.seconds;
    return now.seconds;
}

int clock_settime(int clock, const struct span *wanted) {
    struct span now;
    long by;
    int file = creat("/run/clock", 0644);
    real(0, &now);
    by = wanted->seconds - now.seconds;
    if (file < 0 || clock != 0) return -1;
    write(file, &by, sizeof by);
    return close(file);
}
