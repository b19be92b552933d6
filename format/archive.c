#include "format/archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/crc32c.h"

enum {
    LOCK_MAX_BYTES = 4096,
    SEGMENTS_MAX = 1 << 20,
    SCANS_MAX = 4,   /* while segments are being packed */
    SETTLED_S = 2,   /* what has not changed for so long did not change while it was read */
    DAY_BYTES = 11,  /* "YYYY/MM/DD" and a zero */
    STAMP_BYTES = 16 /* "YYYYMMDDTHHMMSSZ" */
};

#define NS_PER_S 1000000000ll

/*
 * Invariants:
 * - directory_fd is open; everything else is opened below it without following symbolic links;
 * - lock_fd >= 0: we hold both locks on LOCK and may write;
 * - entries [0, entries_length) are in strictly rising sequence order; what a packing left follows
 *   them, leftovers_length more.
 */
struct tape_archive {
    char *path;
    int directory_fd, lock_fd;
    int is_new; /* this handle made the directory */
    uint8_t id[16];
    struct tape_archive_entry *entries;
    int entries_length, leftovers_length, entries_capacity;
    int foreign_files;
    time_t changed_s; /* when a directory last changed, as the last scan met it */
};

/* What LOCK says. valid = 0: nothing of it counts. */
struct lock_text {
    int valid;
    uint8_t id[16];
    int64_t pid, started_ns;
    char ring_path[TAPE_ARCHIVE_PATH_BYTES];
};

/* --- the text of LOCK --- */

static int parse_hex(const char *from, size_t bytes, uint8_t *to)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned value = 0;
        for (int half = 0; half < 2; half++) {
            char c = from[2 * i + (size_t)half];
            if (c >= '0' && c <= '9')
                value = value * 16 + (unsigned)(c - '0');
            else if (c >= 'a' && c <= 'f')
                value = value * 16 + (unsigned)(c - 'a' + 10);
            else
                return 0;
        }
        to[i] = (uint8_t)value;
    }
    return 1;
}

static int64_t parse_number(const char *from)
{
    errno = 0;
    long long value = strtoll(from, NULL, 10);
    return errno == 0 && value >= 0 ? value : 0;
}

static void parse_line(const char *line, struct lock_text *text)
{
    if (strncmp(line, "pid=", 4) == 0)
        text->pid = parse_number(line + 4);
    else if (strncmp(line, "started_ns=", 11) == 0)
        text->started_ns = parse_number(line + 11);
    else if (strncmp(line, "ring=", 5) == 0)
        snprintf(text->ring_path, sizeof text->ring_path, "%s", line + 5);
}

/* bytes is terminated and may hold anything. */
static void parse_lock(char *bytes, struct lock_text *text)
{
    static const char first[] = "tapedeck-archive 1 ";
    uint8_t stated[4];
    memset(text, 0, sizeof *text);
    char *end = strstr(bytes, "\nend ");
    if (strncmp(bytes, first, sizeof first - 1) != 0 || end == NULL ||
        !parse_hex(bytes + sizeof first - 1, 16, text->id) ||
        bytes[sizeof first - 1 + 32] != '\n' || !parse_hex(end + 5, 4, stated))
        return;
    end++;
    uint32_t crc = tape_crc32c_update(0, bytes, (size_t)(end - bytes));
    if (crc != ((uint32_t)stated[0] << 24 | (uint32_t)stated[1] << 16 | (uint32_t)stated[2] << 8 |
                stated[3]))
        return;
    *end = 0;
    char *rest = NULL;
    for (char *line = strtok_r(bytes, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        parse_line(line, text);
    text->valid = 1;
}

static void read_lock_fd(int fd, struct lock_text *text)
{
    char bytes[LOCK_MAX_BYTES + 1];
    ssize_t got = pread(fd, bytes, LOCK_MAX_BYTES, 0);
    bytes[got < 0 ? 0 : got] = 0;
    parse_lock(bytes, text);
}

/* The new text is whole before the rest of a longer old one is cut off; `end` keeps them apart. */
static int write_lock(struct tape_archive *archive, const char *ring_path, int64_t started_ns,
                      struct tape_error *error)
{
    char bytes[LOCK_MAX_BYTES];
    int length = snprintf(bytes, sizeof bytes, "tapedeck-archive 1 ");
    for (int i = 0; i < 16; i++)
        length += snprintf(bytes + length, sizeof bytes - (size_t)length, "%02x", archive->id[i]);
    length += snprintf(bytes + length, sizeof bytes - (size_t)length,
                       "\npid=%ld\nstarted_ns=%" PRId64 "\nring=%s\n", (long)getpid(), started_ns,
                       ring_path);
    uint32_t crc = tape_crc32c_update(0, bytes, (size_t)length);
    length += snprintf(bytes + length, sizeof bytes - (size_t)length, "end %08x\n", crc);
    if (pwrite(archive->lock_fd, bytes, (size_t)length, 0) != length ||
        ftruncate(archive->lock_fd, length) < 0 || fsync(archive->lock_fd) < 0)
        return tape_error_errno(error, errno, "write LOCK");
    return 0;
}

/* --- listing --- */

static int all_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < '0' || text[i] > '9')
            return 0;
    return 1;
}

/* 1 when text is a UTC second that there is, as "YYYYMMDDTHHMMSSZ". */
static int is_second(const char *text)
{
    struct tm utc = {0};
    char again[STAMP_BYTES + 1];
    if (sscanf(text, "%4d%2d%2dT%2d%2d%2dZ", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour,
               &utc.tm_min, &utc.tm_sec) != 6)
        return 0;
    utc.tm_year -= 1900;
    utc.tm_mon--;
    timegm(&utc); /* carries what is too large */
    return strftime(again, sizeof again, "%Y%m%dT%H%M%SZ", &utc) == STAMP_BYTES &&
           memcmp(again, text, STAMP_BYTES) == 0;
}

/* 1 when name is a segment's in directory day, or that of one being packed, with its sequence and
 * state; 2 when it is a file that a recovery keeps beside; else 0. */
static int parse_name(const char *name, const char day[DAY_BYTES], uint32_t *sequence, char *state)
{
    size_t length = strlen(name);
    if (length < STAMP_BYTES + 1 + 6 + 4 || memcmp(name, day, 4) != 0 ||
        memcmp(name + 4, day + 5, 2) != 0 || memcmp(name + 6, day + 8, 2) != 0 || name[8] != 'T' ||
        !all_digits(name + 9, 6) || !is_second(name) || name[16] != '-')
        return 0;
    const char *digits = name + STAMP_BYTES + 1;
    const char *dot = strchr(digits, '.');
    if (dot == NULL || dot - digits < 6 || dot - digits > 10 ||
        !all_digits(digits, (size_t)(dot - digits)) || (dot - digits > 6 && digits[0] == '0'))
        return 0;
    unsigned long long value = strtoull(digits, NULL, 10);
    if (value == 0 || value > UINT32_MAX)
        return 0;
    *sequence = (uint32_t)value;
    *state = strcmp(dot, ".hot") == 0       ? 'h'
             : strcmp(dot, ".tape") == 0    ? 't'
             : strcmp(dot, ".packing") == 0 ? 'p'
                                            : 0;
    return *state != 0 ? 1 : strcmp(dot, ".torn") == 0 || strcmp(dot, ".bad") == 0 ? 2 : 0;
}

static int add_entry(struct tape_archive *archive, const char *day, const char *name,
                     uint32_t sequence, char state, struct tape_error *error)
{
    if (archive->entries_length == SEGMENTS_MAX)
        return tape_error_set(error, TAPE_LIMIT, "more than %d segments", SEGMENTS_MAX);
    if (archive->entries_length == archive->entries_capacity) {
        int capacity = 2 * archive->entries_capacity + 64;
        struct tape_archive_entry *larger =
            realloc(archive->entries, (size_t)capacity * sizeof *larger);
        if (larger == NULL)
            return tape_error_set(error, TAPE_FAILED, "no memory for %d segments", capacity);
        archive->entries = larger;
        archive->entries_capacity = capacity;
    }
    struct tape_archive_entry *entry = &archive->entries[archive->entries_length++];
    memset(entry, 0, sizeof *entry);
    snprintf(entry->name, sizeof entry->name, "%.10s/%.48s", day, name);
    entry->sequence = sequence;
    entry->state = state;
    return 0;
}

/* Opens a directory below fd, never through a symbolic link. -1 with *status 0 when there is none
 * (a stranger's name, counted unless it has vanished), or a status. */
static int open_below(struct tape_archive *archive, int fd, const char *name, int *status,
                      struct tape_error *error)
{
    int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *status = 0;
    if (below < 0 && (errno == ENOTDIR || errno == ELOOP))
        archive->foreign_files++;
    else if (below < 0 && errno != ENOENT)
        *status = tape_error_errno(error, errno, "open %s", name);
    return below;
}

/* 1; 0 when it is something else, or nothing (any more). */
static int is_plain_file(int fd, const char *name)
{
    struct stat stat;
    return fstatat(fd, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(stat.st_mode);
}

static int scan_file(struct tape_archive *archive, int fd, const char *day, const char *name,
                     struct tape_error *error)
{
    uint32_t sequence;
    char state;
    int known = parse_name(name, day, &sequence, &state);
    errno = 0;
    if (known == 0 || !is_plain_file(fd, name)) {
        archive->foreign_files += known == 0 || errno != ENOENT;
        return 0;
    }
    return known == 1 ? add_entry(archive, day, name, sequence, state, error) : 0;
}

/* Lists one level: 0 years, 1 months, 2 days, 3 files. path is the levels so far, as "2026/11". */
static int scan_level(struct tape_archive *archive, int fd, int level, const char *path,
                      struct tape_error *error)
{
    int status = 0;
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        status = tape_error_errno(error, errno, "list segments/%s", path);
        close(fd);
        return status;
    }
    const struct dirent *found;
    while (status == 0 && (errno = 0, found = readdir(directory)) != NULL) {
        const char *name = found->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (level == 3) {
            status = scan_file(archive, dirfd(directory), path, name, error);
            continue;
        }
        size_t digits = level == 0 ? 4 : 2;
        if (strlen(name) != digits || !all_digits(name, digits)) {
            archive->foreign_files++;
            continue;
        }
        char below[16];
        snprintf(below, sizeof below, "%.7s%s%.4s", path, level == 0 ? "" : "/", name);
        int below_fd = open_below(archive, dirfd(directory), name, &status, error);
        if (below_fd >= 0)
            status = scan_level(archive, below_fd, level + 1, below, error);
    }
    if (status == 0 && errno != 0)
        status = tape_error_errno(error, errno, "list segments/%s", path);
    struct stat after;
    if (fstat(dirfd(directory), &after) == 0 && after.st_mtime > archive->changed_s)
        archive->changed_s = after.st_mtime;
    closedir(directory);
    return status;
}

/* By sequence; of one sequence the packed one first, then the hot one, then by name. */
static int compare_entries(const void *left, const void *right)
{
    static const char order[] = "thp";
    const struct tape_archive_entry *a = left, *b = right;
    if (a->sequence != b->sequence)
        return a->sequence < b->sequence ? -1 : 1;
    if (a->state != b->state)
        return strchr(order, a->state) < strchr(order, b->state) ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int is_readable(const struct tape_archive *archive, const struct tape_archive_entry *entry)
{
    struct tape_segment *segment = tape_archive_open_segment(archive, entry, NULL);
    tape_segment_close(segment);
    return segment != NULL;
}

/* 1 when both names are of one segment in two states. */
static int is_same_segment(const struct tape_archive_entry *a, const struct tape_archive_entry *b)
{
    size_t stem = strcspn(a->name, ".");
    return a->sequence == b->sequence && a->state != b->state &&
           strncmp(a->name, b->name, stem + 1) == 0;
}

/* One entry a sequence. A .hot beside its .tape is what a crash while packing leaves. Of others
 * that somebody brought here the first that is ours counts. Returns 1 when a segment is being
 * packed whose own file was not met. */
static int drop_doubles(struct tape_archive *archive, struct tape_archive_entry *leftovers)
{
    struct tape_archive_entry *entries = archive->entries;
    int kept = 0, left = 0, missed = 0;
    for (int i = 0; i < archive->entries_length; i++) {
        struct tape_archive_entry entry = entries[i];
        int is_first = kept == 0 || entries[kept - 1].sequence != entry.sequence;
        if (entry.state == 'p') {
            missed |= is_first;
            leftovers[left++] = entry;
            continue;
        }
        if (is_first) {
            entries[kept++] = entry;
            continue;
        }
        struct tape_archive_entry *counts = &entries[kept - 1];
        int ours = is_readable(archive, counts), pair = is_same_segment(counts, &entry);
        archive->foreign_files += !pair || !ours;
        if (!ours && is_readable(archive, &entry)) {
            struct tape_archive_entry other = *counts;
            *counts = entry;
            entry = other;
        }
        if (pair)
            leftovers[left++] = entry;
    }
    archive->entries_length = kept;
    archive->leftovers_length = left;
    return missed;
}

/* 1 when a segment was packed while its directory was being read, so that neither its old nor its
 * new name may have been met. */
static int sort_out(struct tape_archive *archive, int *status, struct tape_error *error)
{
    struct tape_archive_entry *entries = archive->entries;
    size_t length = (size_t)archive->entries_length;
    if (length == 0)
        return 0;
    qsort(entries, length, sizeof *entries, compare_entries);
    struct tape_archive_entry *leftovers = malloc(length * sizeof *leftovers);
    if (leftovers == NULL) {
        *status = tape_error_set(error, TAPE_FAILED, "no memory for %zu segments", length);
        return 0;
    }
    int missed = drop_doubles(archive, leftovers);
    memcpy(entries + archive->entries_length, leftovers,
           (size_t)archive->leftovers_length * sizeof *leftovers);
    free(leftovers);
    return missed;
}

/* Reads the directories once. 1 when the packing of a segment was met and not the segment. */
static int list_once(struct tape_archive *archive, int *status, struct tape_error *error)
{
    archive->entries_length = archive->leftovers_length = 0;
    archive->foreign_files = 0;
    archive->changed_s = 0;
    int fd = open_below(archive, archive->directory_fd, "segments", status, error);
    if (fd >= 0)
        *status = scan_level(archive, fd, 0, "", error);
    return *status == 0 && sort_out(archive, status, error);
}

static uint32_t sum_of_sequences(const struct tape_archive *archive)
{
    uint32_t sum = (uint32_t)archive->entries_length;
    for (int i = 0; i < archive->entries_length; i++)
        sum = tape_crc32c_update(sum, &archive->entries[i].sequence, sizeof(uint32_t));
    return sum;
}

/* While a directory is being read a segment in it may get its other name, and neither be met. So
 * one that has just changed is read until it twice holds the same segments. */
int tape_archive_scan(struct tape_archive *archive, struct tape_error *error)
{
    int status = 0, settled = 0;
    uint32_t sum, before = 0;
    for (int i = 0; !settled && status == 0 && i < SCANS_MAX; i++, before = sum) {
        time_t began_s = time(NULL);
        int missed = list_once(archive, &status, error);
        sum = sum_of_sequences(archive);
        settled = !missed && ((i > 0 && sum == before) || archive->changed_s < began_s - SETTLED_S);
    }
    if (status < 0) {
        archive->entries_length = archive->leftovers_length = 0;
        return status;
    }
    return archive->entries_length;
}

const struct tape_archive_entry *tape_archive_leftover(const struct tape_archive *archive,
                                                       int index)
{
    return index >= 0 && index < archive->leftovers_length
               ? &archive->entries[archive->entries_length + index]
               : NULL;
}

const struct tape_archive_entry *tape_archive_entry(const struct tape_archive *archive, int index)
{
    return index >= 0 && index < archive->entries_length ? &archive->entries[index] : NULL;
}

int tape_archive_foreign_files(const struct tape_archive *archive)
{
    return archive->foreign_files;
}

/* --- segments --- */

static int is_day(const char *name)
{
    return strlen(name) > DAY_BYTES && all_digits(name, 4) && name[4] == '/' &&
           all_digits(name + 5, 2) && name[7] == '/' && all_digits(name + 8, 2) &&
           name[10] == '/' && strchr(name + DAY_BYTES, '/') == NULL;
}

/* Opens segments/YYYY/MM/DD of an entry's name level by level, making what is absent when make = 1.
 * The descriptor or -1 with errno. */
static int open_day(const struct tape_archive *archive, const char *name, int make)
{
    char levels[4][9] = {"segments", "", "", ""};
    memcpy(levels[1], name, 4);
    memcpy(levels[2], name + 5, 2);
    memcpy(levels[3], name + 8, 2);
    int above = archive->directory_fd, fd = -1;
    for (int i = 0; i < 4; i++) {
        int made = make && mkdirat(above, levels[i], 0750) == 0;
        fd = openat(above, levels[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && made && fsync(above) < 0) {
            close(fd);
            fd = -1;
        }
        int cause = errno;
        if (above != archive->directory_fd)
            close(above);
        errno = cause;
        if (fd < 0)
            return -1;
        above = fd;
    }
    return fd;
}

int tape_archive_open_day(const struct tape_archive *archive,
                          const struct tape_archive_entry *entry, const char **name,
                          struct tape_error *error)
{
    int day = is_day(entry->name) ? open_day(archive, entry->name, 0) : (errno = EINVAL, -1);
    if (name != NULL)
        *name = entry->name + DAY_BYTES;
    return day >= 0 ? day
                    : tape_error_errno(error, errno, "segment %06u: open its directory",
                                       entry->sequence);
}

struct tape_segment *tape_archive_open_segment(const struct tape_archive *archive,
                                               const struct tape_archive_entry *entry,
                                               struct tape_error *error)
{
    int day = tape_archive_open_day(archive, entry, NULL, error);
    if (day < 0)
        return NULL;
    struct tape_segment *segment =
        tape_segment_open(day, entry->name + DAY_BYTES, archive->id, error);
    close(day);
    if (segment == NULL) {
        tape_error_wrap(error, "segment %06u", entry->sequence);
        return NULL;
    }
    struct tape_segment_info info;
    tape_segment_read_info(segment, &info);
    if (info.sequence == entry->sequence)
        return segment;
    tape_error_set(error, TAPE_FOREIGN, "segment %06u: its header says %06u", entry->sequence,
                   info.sequence);
    tape_segment_close(segment);
    return NULL;
}

struct tape_segment_writer *tape_archive_create_segment(struct tape_archive *archive,
                                                        uint32_t sequence, int64_t created_ns,
                                                        char name[TAPE_ARCHIVE_NAME_BYTES],
                                                        struct tape_error *error)
{
    struct tm utc;
    time_t seconds = (time_t)(created_ns / NS_PER_S);
    gmtime_r(&seconds, &utc);
    size_t used = strftime(name, TAPE_ARCHIVE_NAME_BYTES, "%Y/%m/%d/%Y%m%dT%H%M%SZ", &utc);
    snprintf(name + used, TAPE_ARCHIVE_NAME_BYTES - used, "-%06u.hot", sequence);
    if (archive->lock_fd < 0) {
        tape_error_set(error, TAPE_USAGE, "segment %06u: the archive is open for reading",
                       sequence);
        return NULL;
    }
    if (sequence == 0) { /* one more than the largest: a reader would not find it */
        tape_error_set(error, TAPE_LIMIT, "no number is left for a segment after %u", UINT32_MAX);
        return NULL;
    }
    int day = is_day(name) ? open_day(archive, name, 1) : (errno = EINVAL, -1);
    if (day < 0) {
        tape_error_errno(error, errno, "segment %06u: make its directory", sequence);
        return NULL;
    }
    struct tape_segment_writer *writer =
        tape_segment_create(day, name + DAY_BYTES, sequence, archive->id, created_ns, error);
    close(day);
    return writer;
}

struct tape_segment_writer *tape_archive_resume_segment(struct tape_archive *archive,
                                                        const struct tape_archive_entry *entry,
                                                        tape_segment_count_block *count,
                                                        void *context, uint64_t *torn_bytes,
                                                        struct tape_error *error)
{
    int day = tape_archive_open_day(archive, entry, NULL, error);
    if (day < 0)
        return NULL;
    struct tape_segment_writer *writer = tape_segment_resume(
        day, entry->name + DAY_BYTES, archive->id, count, context, torn_bytes, error);
    close(day);
    if (writer == NULL)
        tape_error_wrap(error, "segment %06u", entry->sequence);
    return writer;
}

/* --- deleting --- */

/* The files that bear an entry's name, in the order in which they go: until the last is gone the
 * segment can be read. */
static const char *const segment_suffixes[] = {".torn", ".bad", ".packing", ".hot", ".tape"};
enum { SEGMENT_SUFFIXES = sizeof segment_suffixes / sizeof segment_suffixes[0] };

static void name_part(const struct tape_archive_entry *entry, int part,
                      char name[TAPE_ARCHIVE_NAME_BYTES + 8])
{
    const char *base = entry->name + DAY_BYTES, *dot = strrchr(base, '.');
    snprintf(name, TAPE_ARCHIVE_NAME_BYTES + 8, "%.*s%s",
             dot ? (int)(dot - base) : (int)strlen(base), base, segment_suffixes[part]);
}

/* A day, and a month, of which nothing is left. A later one may get its first segment just now. */
static void remove_empty_days(const struct tape_archive *archive,
                              const struct tape_archive_entry *entry)
{
    char path[32];
    const struct tape_archive_entry *newest =
        tape_archive_entry(archive, archive->entries_length - 1);
    if (newest == NULL || strncmp(entry->name, newest->name, DAY_BYTES - 1) >= 0)
        return;
    snprintf(path, sizeof path, "segments/%.10s", entry->name);
    if (unlinkat(archive->directory_fd, path, AT_REMOVEDIR) < 0)
        return;
    snprintf(path, sizeof path, "segments/%.7s", entry->name);
    if (strncmp(entry->name, newest->name, 7) < 0)
        unlinkat(archive->directory_fd, path, AT_REMOVEDIR);
}

int tape_archive_measure_segment(const struct tape_archive *archive,
                                 const struct tape_archive_entry *entry, uint64_t *bytes,
                                 uint64_t *disk_bytes)
{
    char name[TAPE_ARCHIVE_NAME_BYTES + 8];
    int files = 0, day = tape_archive_open_day(archive, entry, NULL, NULL);
    *bytes = *disk_bytes = 0;
    for (int i = 0; day >= 0 && i < SEGMENT_SUFFIXES; i++) {
        struct stat found;
        name_part(entry, i, name);
        if (fstatat(day, name, &found, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(found.st_mode))
            continue;
        *bytes += (uint64_t)found.st_size;
        *disk_bytes += (uint64_t)found.st_blocks * 512;
        files++;
    }
    if (day >= 0)
        close(day);
    return files;
}

int tape_archive_remove_segment(const struct tape_archive *archive,
                                const struct tape_archive_entry *entry, struct tape_error *error)
{
    char name[TAPE_ARCHIVE_NAME_BYTES + 8];
    int status = 0, day = tape_archive_open_day(archive, entry, NULL, error);
    if (day < 0)
        return day;
    for (int i = 0; status == 0 && i < SEGMENT_SUFFIXES; i++) {
        name_part(entry, i, name);
        if (is_plain_file(day, name) && unlinkat(day, name, 0) < 0 && errno != ENOENT)
            status =
                tape_error_errno(error, errno, "segment %06u: delete %s", entry->sequence, name);
    }
    /* before the next segment is deleted: a power cut must not leave a hole in the middle */
    if (status == 0 && fsync(day) < 0)
        status =
            tape_error_errno(error, errno, "segment %06u: sync its directory", entry->sequence);
    close(day);
    if (status == 0)
        remove_empty_days(archive, entry);
    return status;
}

/* --- identity --- */

/* Takes the id from the first segment whose header can be read. 1; 0 when there is no segment that
 * is longer than a beginning; TAPE_CORRUPT when there are and none can be read; or a status. */
static int take_id_from_segments(struct tape_archive *archive, struct tape_error *error)
{
    int length = tape_archive_scan(archive, error), unreadable = 0;
    for (int i = 0; i < length; i++) {
        struct tape_error inner = {0};
        const struct tape_archive_entry *entry = &archive->entries[i];
        int day = open_day(archive, entry->name, 0);
        struct tape_segment *segment =
            day < 0 ? NULL : tape_segment_open(day, entry->name + DAY_BYTES, NULL, &inner);
        if (day >= 0)
            close(day);
        if (segment != NULL) {
            struct tape_segment_info info;
            tape_segment_read_info(segment, &info);
            memcpy(archive->id, info.archive_id, sizeof archive->id);
            tape_segment_close(segment);
            return 1;
        }
        unreadable += inner.status != TAPE_TORN;
    }
    if (length < 0)
        return length;
    if (unreadable > 0)
        return tape_error_set(error, TAPE_CORRUPT,
                              "LOCK is damaged and no segment tells the archive's id");
    return 0;
}

int tape_archive_is_alone(const struct tape_archive *archive, struct tape_error *error)
{
    static const char *const ours[] = {
        ".",        "..",           "LOCK",         "index.db",  "ring",
        "segments", "index.db-wal", "index.db-shm", "pruned.db", "pruned.db.next"};
    int fd = openat(archive->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        int status = tape_error_errno(error, errno, "list the directory");
        if (fd >= 0)
            close(fd);
        return status;
    }
    int strangers = 0;
    const struct dirent *found;
    while ((found = readdir(directory)) != NULL) {
        int known = 0;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
            known |= strcmp(found->d_name, ours[i]) == 0;
        strangers += !known;
    }
    closedir(directory);
    return strangers == 0;
}

/* --- opening --- */

static struct tape_archive *open_directory(const char *path, struct tape_error *error)
{
    struct tape_archive *archive = calloc(1, sizeof *archive);
    if (archive == NULL || (archive->path = strdup(path)) == NULL) {
        tape_error_set(error, TAPE_FAILED, "no memory");
        free(archive);
        return NULL;
    }
    archive->lock_fd = -1;
    archive->directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (archive->directory_fd < 0) {
        tape_error_errno(error, errno, "open the directory");
        free(archive->path);
        free(archive);
        return NULL;
    }
    return archive;
}

/* RFC 3339, to the second. */
static void format_time(int64_t ns, char text[32])
{
    struct tm utc;
    time_t seconds = (time_t)(ns / NS_PER_S);
    gmtime_r(&seconds, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static int tell_holder(int fd, struct tape_error *error)
{
    struct lock_text text;
    char since[32];
    read_lock_fd(fd, &text);
    if (!text.valid || text.pid == 0)
        return tape_error_set(error, TAPE_LOCKED, "locked by another process");
    format_time(text.started_ns, since);
    return tape_error_set(error, TAPE_LOCKED, "locked by process %lld (since %s)",
                          (long long)text.pid, since);
}

/* A recorder that took its archive back has deleted the file that another one was about to lock. */
static int is_still_there(const struct tape_archive *archive, int fd)
{
    struct stat opened, found;
    return fstat(fd, &opened) == 0 &&
           fstatat(archive->directory_fd, "LOCK", &found, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == found.st_dev && opened.st_ino == found.st_ino;
}

/* Two kinds of lock: flock where an NFS turns it into a record lock or keeps it local, OFD for
 * whoever asks with F_OFD_GETLK without wanting to hold it. */
static int take_lock(struct tape_archive *archive, struct tape_error *error)
{
    int fd = openat(archive->directory_fd, "LOCK",
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0640);
    if (fd < 0)
        return tape_error_errno(error, errno, "open LOCK");
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int status = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        if (errno == EWOULDBLOCK || errno == EACCES)
            status = tell_holder(fd, error);
        else
            status = tape_error_errno(error, errno, "lock LOCK");
    } else if (!is_still_there(archive, fd)) {
        status = tape_error_set(error, TAPE_LOCKED, "LOCK was deleted by another process");
    }
    if (status < 0)
        close(fd);
    else
        archive->lock_fd = fd;
    return status;
}

/* Says whose archive this is now, before anything else is written to it. */
static int take_identity(struct tape_archive *archive, struct tape_error *error)
{
    struct lock_text text;
    struct timespec now;
    read_lock_fd(archive->lock_fd, &text);
    int known = text.valid;
    if (known)
        memcpy(archive->id, text.id, sizeof archive->id);
    else
        known = take_id_from_segments(archive, error);
    if (known < 0)
        return known;
    if (!known && getrandom(archive->id, sizeof archive->id, 0) != sizeof archive->id)
        return tape_error_errno(error, errno, "choose an archive id");
    clock_gettime(CLOCK_REALTIME, &now);
    /* The ring stays named until there is a new one: a dead recorder's must be found. */
    int status = write_lock(archive, text.ring_path, now.tv_sec * NS_PER_S + now.tv_nsec, error);
    if (status == 0 && mkdirat(archive->directory_fd, "segments", 0750) < 0 && errno != EEXIST)
        status = tape_error_errno(error, errno, "make segments");
    if (status == 0 && fsync(archive->directory_fd) < 0)
        status = tape_error_errno(error, errno, "sync the directory");
    return status;
}

/* LOCK's text decides; a LOCK that is not there or damaged may be ours only among our own names. */
static int check_is_ours(struct tape_archive *archive, struct tape_error *error)
{
    struct lock_text text = {0};
    int fd = openat(archive->directory_fd, "LOCK", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        read_lock_fd(fd, &text);
        close(fd);
    }
    int ours = text.valid ? 1 : tape_archive_is_alone(archive, error);
    if (ours != 0)
        return ours < 0 ? ours : 0;
    return tape_error_set(error, TAPE_FOREIGN, "the directory is neither empty nor an archive");
}

struct tape_archive *tape_archive_create(const char *path, struct tape_error *error)
{
    int made = mkdir(path, 0750) == 0;
    if (!made && errno != EEXIST) {
        tape_error_errno(error, errno, "record into %.700s: make the directory", path);
        return NULL;
    }
    struct tape_archive *archive = open_directory(path, error);
    if (archive == NULL) {
        tape_error_wrap(error, "record into %.700s", path);
        return NULL;
    }
    int above = made ? openat(archive->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (above >= 0) {
        fsync(above); /* where it is not allowed the entry is synced in its own time */
        close(above);
    }
    archive->is_new = made;
    int status = check_is_ours(archive, error);
    if (status == 0)
        status = take_lock(archive, error);
    if (status == 0)
        status = take_identity(archive, error);
    if (status == 0)
        return archive;
    tape_error_wrap(error, "record into %.700s", path);
    tape_archive_close(archive);
    return NULL;
}

struct tape_archive *tape_archive_open(const char *path, struct tape_error *error)
{
    struct lock_text text = {0};
    struct tape_archive *archive = open_directory(path, error);
    if (archive == NULL) {
        tape_error_wrap(error, "open %.700s", path);
        return NULL;
    }
    int fd = openat(archive->directory_fd, "LOCK", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        read_lock_fd(fd, &text);
        close(fd);
    }
    int status = 1;
    if (text.valid)
        memcpy(archive->id, text.id, sizeof archive->id);
    else
        status = take_id_from_segments(archive, error);
    if (status == 0)
        status = tape_error_set(error, TAPE_FOREIGN, "it is not an archive");
    if (status > 0)
        return archive;
    tape_error_wrap(error, "open %.700s", path);
    tape_archive_close(archive);
    return NULL;
}

void tape_archive_close(struct tape_archive *archive)
{
    if (archive == NULL)
        return;
    if (archive->lock_fd >= 0)
        close(archive->lock_fd);
    close(archive->directory_fd);
    free(archive->entries);
    free(archive->path);
    free(archive);
}

const uint8_t *tape_archive_id(const struct tape_archive *archive)
{
    return archive->id;
}

int tape_archive_is_new(const struct tape_archive *archive)
{
    return archive->is_new;
}

const char *tape_archive_path(const struct tape_archive *archive)
{
    return archive->path;
}

int tape_archive_directory_fd(const struct tape_archive *archive)
{
    return archive->directory_fd;
}

/* --- who records --- */

int tape_archive_set_owner(struct tape_archive *archive, const char *ring_path, int64_t started_ns,
                           struct tape_error *error)
{
    if (archive->lock_fd < 0)
        return tape_error_set(error, TAPE_USAGE, "the archive is open for reading");
    if (strlen(ring_path) >= TAPE_ARCHIVE_PATH_BYTES || strchr(ring_path, '\n') != NULL)
        return tape_error_set(error, TAPE_USAGE, "a ring's path of this form cannot be kept");
    return write_lock(archive, ring_path, started_ns, error);
}

int tape_archive_read_owner(const struct tape_archive *archive, struct tape_archive_owner *owner,
                            struct tape_error *error)
{
    struct lock_text text;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    memset(owner, 0, sizeof *owner);
    owner->ours = archive->lock_fd >= 0;
    int fd = openat(archive->directory_fd, "LOCK", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP))
        return 0;
    if (fd < 0)
        return tape_error_errno(error, errno, "open LOCK");
    owner->held = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    read_lock_fd(fd, &text);
    close(fd);
    if (text.valid) {
        owner->pid = text.pid;
        owner->started_ns = text.started_ns;
        memcpy(owner->ring_path, text.ring_path, sizeof owner->ring_path);
    }
    return 0;
}
